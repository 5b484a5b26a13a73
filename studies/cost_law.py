"""What requests cost by method, size of the cohort and share forgotten: the runs that a cost law is fitted on.

    python studies/cost_law.py --work FOLDER [--into studies/cost_law.json] [--page docs/cost_law.md]

For each size one original is trained on the embedded cohort, and requests of several sizes are unlearned from it by
several methods; each line of FOLDER/runs.jsonl is one run. What is finished there stays when the command is given
again. Seconds are those of the processor, one thread, with the gate's fitting. The model is a small one by default
(32 pixels), so that all of it fits into minutes; --model compact takes the package's own, which takes about 8 times as
long. With --page the check on requests that the lines were not fitted on is written there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.cost import Meter
from forgetmi.core.files import write_text
from forgetmi.core.registry import methods
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.model.architecture import Architecture
from forgetmi.requests.cost_check import TOLERANCE, checks
from forgetmi.requests.cost_law import (
    FORMAT,
    RETRAIN,
    CostLaw,
    MeasuredCosts,
    MeasuredMethod,
    MeasuredRun,
    fitted,
)
from forgetmi.run import workflow
from forgetmi.run.prepared import open_checkpoint
from forgetmi.run.run_data import OpenedRun, open_run
from forgetmi.run.spec import PartitionSpec, RunSpec, to_plain
from pages import command, hardware, put, rows

# Methods that read the forgotten cost by their number; the others train on whoever stays
READS_FORGOTTEN = ("forget_mi", "calibrated_consensus")
TRAINS_ON_THE_REST = ("short_retrain", "undo")
MEASURED = (*READS_FORGOTTEN, *TRAINS_ON_THE_REST)

# A percentage so small that one patient is drawn
ONE_PATIENT = 0.001

SMALL = {
    "cohort": {"size": 32},
    "images": ImagePreprocessing(size=32),
    "model": Architecture(
        stem_width=8, widths=(8, 16, 16), hidden=16, heads=2, layers=1, intermediate=32
    ),
}


@dataclass(frozen=True)
class Task:
    """One run.

    Args:
        patients: Size of the generated cohort.
        seed: Of the cohort and of everything random.
        method: Its registered name; retrain stands for the original, which costs as much.
        percent: Of the training side's images, as whole patients.
        draw: Which forget set of that percentage.
        use: "fit", or "check" for requests that the law has not seen.
    """

    patients: int
    seed: int
    method: str
    percent: float
    draw: int
    use: str


def tasks(seed: int) -> Iterator[Task]:
    """Everything to be measured, one cohort after the other."""
    fit: dict[int, tuple[float, ...]] = {
        45: (ONE_PATIENT, 10.0),
        90: (ONE_PATIENT, 3.0, 10.0),
        180: (ONE_PATIENT, 3.0, 10.0),
    }
    for patients, percents in fit.items():
        yield from of_cohort(patients, seed, percents, "fit")

    # Requests that the fit does not see, on cohorts of other sizes
    check = {
        65: (ONE_PATIENT, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
        130: (ONE_PATIENT, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
    }
    for patients, percents in check.items():
        yield from of_cohort(patients, seed + 1, percents, "check")

    yield from of_cohort(360, seed, (ONE_PATIENT, 1.0, 3.0, 10.0), "fit")


def of_cohort(patients: int, seed: int, percents: tuple[float, ...], use: str) -> Iterator[Task]:
    """A retraining, and every method at every size of request; of the fit those that vary little only twice."""
    yield Task(patients, seed, RETRAIN, 0.0, 0, use)
    for percent in percents:
        ends = percent in (percents[0], percents[-1])
        for method in MEASURED if use == "check" or ends else READS_FORGOTTEN:
            yield Task(patients, seed, method, percent, 0, use)


def spec_of(task: Task, model: str) -> RunSpec:
    """The run of a task, with the package's defaults."""
    size: dict[str, Any] = SMALL if model == "small" else {"cohort": {}}
    others = {name: value for name, value in size.items() if name != "cohort"}
    return RunSpec(
        cohort=SyntheticCohort(patients=task.patients, seed=task.seed, **size["cohort"]),
        partition=PartitionSpec(percent=task.percent or ONE_PATIENT, draw=task.draw),
        seed=task.seed,
        workers=1,
        **others,
    )


def measured(task: Task, work: Path, model: str) -> MeasuredRun:
    """Carry one task out, and say what it cost."""
    spec = spec_of(task, model)
    data = open_run(spec)
    original = work / f"original-{task.patients}-{task.seed}"

    with Meter() as meter:
        if task.method == RETRAIN:
            train(spec, data, original)
        else:
            unlearn(spec, data, original, task.method)

    # A retraining forgets nobody: it stands for all requests
    forgotten = [] if task.method == RETRAIN else data.partition.forget
    return MeasuredRun(
        **asdict(task),
        images=len(data.partition.forget) + len(data.partition.retain),
        forgotten=len(forgotten),
        forgotten_patients=len({*data.cohort.patient[forgotten]} if len(forgotten) else ()),
        cpu_seconds=round(meter.cost.cpu_seconds, 3),
        device_seconds=round(meter.cost.device_seconds, 3),
    )


def train(spec: RunSpec, data: OpenedRun, original: Path) -> None:
    """Train an original."""
    model, _ = workflow.train(
        prepared=data.prepared, partition=data.partition, recipe=spec.training, seed=spec.seed
    )
    data.prepared.save(original, model, patients=None, role="original", seed=spec.seed)


def unlearn(spec: RunSpec, data: OpenedRun, original: Path, name: str) -> None:
    """Unlearn from it by one method with its defaults."""
    _, loaded = open_checkpoint(original, cohort=data.cohort, like=data.prepared)
    workflow.unlearn(
        prepared=data.prepared,
        partition=data.partition,
        model=loaded.model,
        method=methods.get(name)(),
        recipe=spec.training,
        seed=spec.seed,
        batch_size=spec.batch_size,
    )


def described(name: str) -> MeasuredMethod:
    """A method as its runs' records describe it."""
    method: Any = methods.get(name)()
    options = to_plain(method)
    options.pop("kind")
    return MeasuredMethod(name, bool(method.info.exact), options)


def read_runs(path: Path) -> list[MeasuredRun]:
    """What was measured so far; a line that a killed process left unfinished is left out."""
    found = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.endswith("}"):
                found.append(MeasuredRun(**json.loads(line)))
    return found


def tables(law: CostLaw) -> list[str]:
    """The lines, and how the law chose for requests that it had not seen."""
    per_image = law.lines[RETRAIN].coefficients[1]
    body = []
    for name, line in law.lines.items():
        fixed, image, forgotten = line.coefficients
        count = line.freedom + int((line.coefficients != 0).sum())
        body.append(
            [
                f"`{name}`",
                f"{image / per_image:.2f}",
                f"{forgotten / per_image:+.1f}",
                f"{fixed:.2f}",
                f"{line.spread:.0%}",
                count,
            ]
        )
    head = ["method", "a, of a retraining", "b, of a retraining", "fixed, CPU s", "scatter", "runs"]
    lines = [*rows(head, body), ""]

    low, high = law.lines["forget_mi"].images
    small, large = law.lines["forget_mi"].share
    lines += [
        f"Fitted on {low} to {high} images, {small:.1%} to {large:.1%} of them forgotten.",
        "",
    ]
    for title, names in {
        "all four methods": MEASURED,
        "those that do not read the forgotten": TRAINS_ON_THE_REST,
    }.items():
        found = checks(law.costs, names)
        if not found:
            lines.append(f"- Choosing among {title}: too few runs to leave a request out.")
            continue
        good = sum(one.good for one in found)
        inside = sum(one.inside for one in found)
        every = sum(one.methods for one in found)
        worst = max((one.excess for one in found), default=0.0)
        lines.append(
            f"- Choosing among {title} for a request that the lines were not fitted on: within {TOLERANCE:.0%} of the "
            f"best in {good} of {len(found)}, at worst {worst:.0%} dearer; {inside} of {every} costs lie in their 95 % "
            "interval."
        )
    return lines


def main() -> None:
    """Measure what is missing, and write the file of measured runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of originals and runs")
    parser.add_argument("--into", type=Path, help="file of measured runs to write")
    parser.add_argument("--page", type=Path, help="page with marks for the tables")
    parser.add_argument("--model", choices=("small", "compact"), default="small")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--no-more", action="store_true", help="measure nothing further")
    options = parser.parse_args()

    options.work.mkdir(parents=True, exist_ok=True)
    log = options.work / "runs.jsonl"
    known = {
        tuple(getattr(run, name) for name in Task.__dataclass_fields__) for run in read_runs(log)
    }
    for task in () if options.no_more else tasks(options.seed):
        if tuple(asdict(task).values()) not in known:
            run = measured(task, options.work, options.model)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(run)) + "\n")
            print(run, flush=True)

    described_methods = tuple(described(name) for name in (RETRAIN, *MEASURED))
    shown = command("cost_law", ["--work", "FOLDER", "--model", options.model])
    costs = MeasuredCosts(FORMAT, hardware(), shown, described_methods, tuple(read_runs(log)))
    if options.into is not None:
        write_text(options.into, json.dumps(asdict(costs), indent=1) + "\n")
    put(options.page, {"cost-law": "\n".join([f"    {shown}", "", *tables(fitted(costs))])})


if __name__ == "__main__":
    main()
