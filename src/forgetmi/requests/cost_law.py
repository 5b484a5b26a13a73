"""The cost law: measured runs of several methods in one file, and the line through those of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.json_text import read_json
from forgetmi.core.printable import quoted
from forgetmi.core.serialization import LATER, from_plain
from forgetmi.requests.advise import CPU, DEVICE
from forgetmi.requests.cost_line import CostLine, fit_line

FORMAT = 1

# The method that stands for a retraining by the model's own recipe
RETRAIN = "retrain"

# Far above every count of images and every measured time
_MOST = 1e12
_DO = "Make one with studies/cost_law.py; docs/cost_law.md says what it holds."


@dataclass(frozen=True)
class MeasuredMethod:
    """A method that was measured.

    Args:
        name: As registered.
        exact: Whether its result never saw the forgotten.
        options: Its hyper-parameters.
    """

    name: str
    exact: bool
    options: Mapping[str, Any]


@dataclass(frozen=True)
class MeasuredRun:
    """What one request cost.

    Args:
        method: Name of a measured method.
        use: "fit", or "check" for requests that the lines are not fitted on.
        patients, seed, percent, draw: Of the generated cohort and its forget set.
        images, forgotten: Images the model was trained on, and those forgotten; 0 of a retraining.
        forgotten_patients: Patients who were forgotten.
        cpu_seconds: What it took of processors, > 0.
        device_seconds: How long a device was held for it; 0 = none was.
    """

    method: str
    use: Literal["fit", "check"]
    patients: int
    seed: int
    percent: float
    draw: int
    images: int
    forgotten: int
    forgotten_patients: int
    cpu_seconds: float
    device_seconds: float = field(default=0.0, metadata=LATER)

    @property
    def busy(self) -> float:
        """Seconds of the device where one was held, else of processors."""
        return self.device_seconds or self.cpu_seconds


@dataclass(frozen=True)
class MeasuredCosts:
    """The content of a cost file.

    Args:
        format: 1.
        hardware, command: On what and how it was measured.
        methods: Those that were measured.
        runs: Every run.
    """

    format: int
    hardware: str
    command: str
    methods: tuple[MeasuredMethod, ...]
    runs: tuple[MeasuredRun, ...]


@dataclass(frozen=True)
class CostLaw:
    """The lines through measured runs.

    Args:
        costs: What was measured.
        lines: By method.
    """

    costs: MeasuredCosts
    lines: Mapping[str, CostLine]

    @property
    def unit(self) -> str:
        """Of the lines' seconds: "device s" or "CPU s"."""
        return DEVICE if any(run.device_seconds for run in self.costs.runs) else CPU

    @property
    def images_per_patient(self) -> float:
        """Mean of forgotten images by forgotten patient, over all runs that forget somebody."""
        forgetting = [run for run in self.costs.runs if run.forgotten]
        patients = sum(run.forgotten_patients for run in forgetting)
        return sum(run.forgotten for run in forgetting) / patients


def read_cost_law(path: Path) -> CostLaw:
    """Read a cost file and fit a line for each of its methods.

    Raises:
        SpecError: It cannot be read, holds something else, or has too few runs of a method.
    """
    values = read_json(path, what="the cost law", do=_DO)
    costs = from_plain(MeasuredCosts, values, where=path.name, complete=True)
    faults = _faults(costs, path.name)
    if faults:
        raise SpecError(faults)
    return fitted(costs)


def fitted(costs: MeasuredCosts) -> CostLaw:
    """The lines through the runs that are there to be fitted.

    Raises:
        SpecError: A method has too few.
    """
    lines = {}
    for method in costs.methods:
        runs = [run for run in costs.runs if run.method == method.name and run.use == "fit"]
        lines[method.name] = fit_line(
            [run.images for run in runs],
            [run.forgotten for run in runs],
            [run.busy for run in runs],
            name=method.name,
        )
    return CostLaw(costs, lines)


def _faults(costs: MeasuredCosts, where: str) -> list[Fault]:
    """What is wrong with a file whose types are right."""
    faults = []
    if costs.format != FORMAT:
        faults.append(Fault(f"the cost law has format {costs.format}, not {FORMAT}", where=where))

    names = [method.name for method in costs.methods]
    if RETRAIN not in names:
        why = "every cost is compared with a retraining"
        faults.append(Fault(f"there is no method {RETRAIN}", where=f"{where}, methods", why=why))
    if len(names) != len(set(names)):
        faults.append(Fault("a method is there twice", where=f"{where}, methods"))

    for number, run in enumerate(costs.runs):
        place = f"{where}, runs[{number}]"
        if run.method not in names:
            faults.append(Fault(f"{quoted(run.method)} is none of its methods", where=place))
        if not 0 <= run.forgotten < run.images <= _MOST or not 0 < run.cpu_seconds <= _MOST:
            why = f"0 <= forgotten < images and cpu_seconds > 0 must hold, and none be above {_MOST:.0e}"
            faults.append(Fault("a number is out of range", where=place, why=why))
        if not min(1, run.forgotten) <= run.forgotten_patients <= run.forgotten:
            why = "whoever is forgotten has an image of the forgotten ones"
            faults.append(Fault("the forgotten patients do not fit the images", place, why=why))
        if not 0 <= run.device_seconds <= _MOST:
            faults.append(Fault("a number is out of range", place, why="device_seconds is not"))
    held = {run.device_seconds > 0 for run in costs.runs}
    if len(held) > 1:
        why = "seconds of a device and of processors make no line"
        faults.append(Fault("some runs had a device and some had none", where=where, why=why))
    if not any(run.forgotten for run in costs.runs):
        faults.append(Fault("no run forgets anybody", where=f"{where}, runs"))
    return faults
