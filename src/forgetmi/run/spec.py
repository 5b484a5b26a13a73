"""What a run is, as frozen dataclasses, and the strict YAML reader and writer for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from forgetmi.audit.rule import AuditSpec
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.carrier import Carrier, read_carrier
from forgetmi.core.compile_mode import Compile
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.ranges import (
    AtLeast,
    AtMost,
    Between,
    Draws,
    Number,
    Percent,
    Seed,
    ShareBelowOne,
    range_faults,
)
from forgetmi.core.registry import Registry, cohorts, methods
from forgetmi.core.serialization import LATER, from_plain
from forgetmi.core.suggest import did_you_mean
from forgetmi.core.yaml_text import read_yaml_values
from forgetmi.data.device_films import Feeding, FilmBits, StoreOn
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.evidence.request import RequestSpec
from forgetmi.jobs.runner import MOST_THREADS, MOST_WORKERS, Resources
from forgetmi.model.architecture import Architecture
from forgetmi.model.recipe import Recipe
from forgetmi.run.absolute_paths import within
from forgetmi.run.default_method import DefaultMethod
from forgetmi.run.directory import RunDirectory


@dataclass(frozen=True)
class PartitionSpec:
    """Who is forgotten, and who is kept aside.

    Args:
        percent: Percent of the training side's images to forget, as whole patients, above 0 and below 100.
        draw: Which of several disjoint forget sets of that percentage, from 0; runs of several can be audited together.
        forget_list: CSV with a column patient_id (or study_id) of those to forget; percent is then not used.
        canaries: Sealed list of ``forgetmi cohort canaries``: those it names are trained on and forgotten, or held out;
            percent is then not used.
        reason: Why, for the report; no identifiers.
        date: Date of the request, for the report.
        validation: Share of patients for validation, never trained on or reported.
        validation_from: training, or holdout for a model that others trained on everybody outside the holdout.
        holdout: Share of patients held out for reporting; a cohort's own split column wins.
        after: partition.json of the run before, where several withdrawals follow each other on one model: its held-out
            patients stay held out, and those forgotten then stay forgotten without being listed again.
    """

    percent: Percent = 10.0
    draw: Number = 0
    forget_list: Path | None = None
    canaries: Path | None = None
    reason: str = ""
    date: str = ""
    validation: ShareBelowOne = 0.15
    validation_from: Literal["training", "holdout"] = "training"
    holdout: ShareBelowOne = 0.25
    after: Path | None = None

    def __post_init__(self) -> None:
        if self.after is not None and self.forget_list is None:
            raise SpecError(
                Fault(
                    "an earlier partition is given without a forget list",
                    where="partition",
                    why="who withdraws now must be named",
                    do="Give --partition.forget-list, too.",
                )
            )


@dataclass(frozen=True)
class TextSpec:
    """How reports become tokens.

    Args:
        vocabulary: Size of the WordPiece vocabulary trained on the training patients.
        min_patients: Fewest training patients a piece must come from.
        max_length: Longest report in tokens; the rest is cut.
    """

    vocabulary: Annotated[int, AtLeast(6), AtMost(1_000_000)] = 1000
    min_patients: Draws = 5
    max_length: Annotated[int, AtLeast(2), AtMost(100_000)] = 320


@dataclass(frozen=True)
class GivenModels:
    """Models that exist already and are not trained again.

    Args:
        original: Checkpoint directory of the original; its architecture, vocabulary and image size are used then.
        retrained: Checkpoint directories of models of the same kind trained without the forgotten.
        trained_on: List of the patients that the original was trained on (CSV, as a forget list), for one from
            elsewhere; a checkpoint made here says so itself.
        trained_as_split: The original comes from elsewhere and was trained on the rows that the cohort's split column
            calls train, and on no others.
    """

    original: Path | None = None
    retrained: tuple[Path, ...] = ()
    trained_on: Path | None = field(default=None, metadata=LATER)
    trained_as_split: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        faults = []
        if self.original is None and (self.trained_on is not None or self.trained_as_split):
            faults.append(
                Fault(
                    "whom a model was trained on is given without the model",
                    where="given",
                    do="Give the original, too.",
                )
            )
        if self.trained_on is not None and self.trained_as_split:
            faults.append(
                Fault(
                    "whom the original was trained on is given twice",
                    where="given",
                    do="Give the list, or say that it was trained as the cohort's split says.",
                )
            )
        if faults:
            raise SpecError(faults)

        # Without the original nothing says what the models were prepared with
        if self.retrained and self.original is None:
            raise SpecError(
                Fault(
                    "retrained models are given without the original",
                    where="given",
                    why="they must share its architecture and vocabulary",
                    do="Give the original, too.",
                )
            )


@dataclass(frozen=True)
class RunSpec:
    """One run: train, retrain, unlearn, evaluate, audit, report.

    Args:
        cohort: Where the data come from (--cohort KIND chooses).
        partition: Who is forgotten.
        request: Whose withdrawal this is, for the record.
        images: How radiographs become pixels.
        text: How reports become tokens.
        model: Architecture.
        training: How the original and every retrained model are trained.
        method: The unlearning method (--method KIND chooses).
        beside: Name of a second method, with its defaults: it is made from the same original and compared with the same
            retrained models, side by side; empty = none.
        carrier: What the method may move: full, heads, last,stages=1, or lora,rank=8,alpha=16,targets=query+value (of
            train: what the training moves); empty = what the original's training moved.
        carrier_keep: Also save the adapters of the carrier lora in a folder of their own.
        given: Models that exist already.
        references: A standing pool (forgetmi pool make), whose members serve as reference; nothing is retrained then.
        targets: A standing pool with members for targets, which the method learns from (--method.target pool).
        retrains: Models retrained here without the forgotten as reference, besides given ones, 0 or more; 2 in all are
            needed for a gap, 3 advised.
        audit: What the audit decides by.
        duplicates: Look for copies of forgotten images and reports under other patients first.
        batch_size: Samples of each set an unlearning step.
        seed: Root seed of everything random.
        split_seed: Seed of the draw of patients; empty = the root seed.
        resamples: Bootstrap resamples behind the intervals.
        workers: Processes side by side; 0 = one a core, at most as many as models. Films are decoded by as many.
        threads: Threads a process computes with, >= 1. Two processes of one thread do more than one process of two.
        runner: Where models are made: local (processes of this machine), ray (see --address) or slurm (a queue).
        address: Of a running Ray cluster (auto = this machine's); empty = one is started for this command.
        gpus_per_job: GPUs a job on Ray or SLURM, >= 0; on Ray also a fraction of one.
        device: cpu, cuda, or auto.
        store_on: Where a GPU's films are kept between epochs: device (all), host (none), or auto (what fits .6 of its
            free memory, the forgotten first).
        film_bits: 16, or 8: films are rounded to 256 grey values on their way to a GPU, of which twice as many fit.
        compile: How encoders run: off, on (compiled) or graphs (captured, too); results differ by rounding.
    """

    cohort: Any = field(default_factory=SyntheticCohort)
    partition: PartitionSpec = field(default_factory=PartitionSpec)
    request: RequestSpec = field(default_factory=RequestSpec)
    images: ImagePreprocessing = field(default_factory=ImagePreprocessing)
    text: TextSpec = field(default_factory=TextSpec)
    model: Architecture = field(default_factory=Architecture)
    training: Recipe = field(default_factory=Recipe)
    method: Any = field(default_factory=DefaultMethod)
    beside: str = field(default="", metadata=LATER)
    carrier: str = field(default="", metadata=LATER)
    carrier_keep: bool = field(default=False, metadata=LATER)
    given: GivenModels = field(default_factory=GivenModels)
    references: Path | None = field(default=None, metadata=LATER)
    targets: Path | None = field(default=None, metadata=LATER)
    retrains: Annotated[int, Between(0, 1000)] = 3
    audit: AuditSpec = field(default_factory=AuditSpec)
    duplicates: bool = True
    batch_size: Draws = 16
    seed: Seed = 0
    split_seed: Seed | None = None
    resamples: Annotated[int, AtLeast(0), AtMost(10_000_000)] = 1000
    workers: Annotated[int, AtLeast(0), AtMost(MOST_WORKERS)] = 0
    threads: Annotated[int, AtLeast(1), AtMost(MOST_THREADS)] = 1
    runner: Literal["local", "ray", "slurm"] = "local"
    address: str = ""
    gpus_per_job: Annotated[float, Between(0, 1024)] = 0.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    store_on: StoreOn = field(default="auto", metadata=LATER)
    film_bits: FilmBits = field(default=16, metadata=LATER)
    compile: Compile = field(default="off", metadata=LATER)

    def __post_init__(self) -> None:
        # Ranges stand in the annotations of the fields
        faults = [Fault(fault, where="run") for fault in range_faults(self)]
        if self.references is not None and self.given.retrained:
            do = "Give one of the two."
            faults.append(Fault("a pool and retrained models are given", where="references", do=do))
        if self.beside and self.beside not in methods.names():
            do = did_you_mean(self.beside, methods.names(), then="forgetmi methods lists them.")
            what = f"there is no method named {quoted(self.beside)}"
            faults.append(Fault(what, where="beside", do=do))
        faults += self._carrier_faults()
        if faults:
            raise SpecError(faults)

    def _carrier_faults(self) -> list[Fault]:
        """A carrier that cannot be read, or none whose adapters could be kept."""
        try:
            kind = self.moves.kind
        except SpecError as error:
            return list(error.faults)
        if self.carrier_keep and kind != "lora":
            what = f"the carrier {kind} has no adapters to keep"
            do = "Choose --carrier lora, or leave the option out."
            return [Fault(what, where="carrier_keep", do=do)]
        return []

    @property
    def moves(self) -> Carrier:
        """What the method may move."""
        return read_carrier(self.carrier or self.training.carrier)

    @property
    def feeding(self) -> Feeding:
        """How films get to an accelerator."""
        return Feeding(store_on=self.store_on, bits=self.film_bits)

    @property
    def resources(self) -> Resources:
        """Where this run's jobs run."""
        return Resources(self.runner, self.workers, self.threads, self.address, self.gpus_per_job)


# What to do about a specification that cannot be read
_DO = "Correct it; forgetmi run --dry-run --out DIR prints a complete one."

# Fields whose type is chosen by name: in YAML as {kind: NAME, ...}.
CHOICES: dict[str, Registry] = {"cohort": cohorts, "method": methods}


def to_plain(value: Any) -> Any:
    """A dataclass as YAML-ready values; registered parts carry their name as ``kind``.

    Raises:
        SpecError: The part of a run that is chosen by name has none: nobody could read it back.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain_dataclass(value)
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _plain_dataclass(value: Any) -> dict[str, Any]:
    plain = {}
    for f in dataclasses.fields(value):
        part = getattr(value, f.name)

        # An option that came later is written where it is used, so that older specifications read the same
        if f.metadata.get("later") and part == f.default:
            continue

        # A part chosen by name is stored under that name, so it must have one
        chosen = isinstance(value, RunSpec) and f.name in CHOICES
        if chosen and dataclasses.is_dataclass(part) and not kind_of(part):
            raise SpecError(
                Fault(
                    f"{type(part).__name__} is not registered as a {CHOICES[f.name].kind}",
                    where=f.name,
                    why="a specification stores it under its registered name",
                    do=f"Register the class: forgetmi.core.registry.{f.name}s.add(NAME, CLASS).",
                )
            )

        plain[f.name] = to_plain(part)

    # The name comes first, for whoever reads the file
    kind = kind_of(value)
    return {"kind": kind, **plain} if kind else plain


def kind_of(part: Any) -> str:
    """The name under which the class of a part is registered; empty = under none."""
    cls = type(part)
    for registry in CHOICES.values():
        for name in registry.names():
            # Only the registered class that has this name is imported, and compared.
            qualified = registry.target(name).partition(":")[2]
            if qualified.rpartition(".")[2] == cls.__name__ and registry.get(name) is cls:
                return name
    return ""


def write_yaml(spec: Any) -> str:
    """The resolved specification as YAML, every field written out."""
    return yaml.safe_dump(to_plain(spec), sort_keys=False, allow_unicode=True)


def read_yaml(path: Path) -> RunSpec:
    """Read a run specification; fields left out keep their defaults.

    Raises:
        SpecError: The file is unreadable, a key is unknown (the nearest is named) or a value has the wrong type; all
            faults at once.
    """
    values = read_yaml_values(path, what="the specification", do=_DO)
    return from_plain(RunSpec, values, where=path.name, choices=CHOICES)


def spec_of(root: Path) -> RunSpec:
    """The specification stored in a run directory; its relative paths are the run's own where there are such files."""
    directory = RunDirectory(root)

    # Every run writes its specification first
    if not directory.spec.exists():
        raise SpecError(
            Fault(
                "this is not a run directory",
                where=root.name,
                why="it has no spec.yaml",
                do="Give the --out of a forgetmi run.",
            )
        )

    return within(read_yaml(directory.spec), root)


def replace_seed(spec: RunSpec, seed: int) -> RunSpec:
    """The same run on another seed, of the synthetic cohort too where that is the cohort."""
    cohort = spec.cohort

    # A cohort that is read from files has no seed
    if any(f.name == "seed" for f in dataclasses.fields(cohort)):
        cohort = dataclasses.replace(cohort, seed=seed)
    return dataclasses.replace(spec, seed=seed, cohort=cohort)


def applied(spec: RunSpec, options: Mapping[str, Any], *, where: str) -> RunSpec:
    """A run with some options changed, named as on the command line, e.g. ``method.lr``.

    Raises:
        SpecError: An option is unknown (the nearest is named) or a value does not fit; all faults at once.
    """
    plain = to_plain(spec)

    for name, value in options.items():
        *path, last = name.replace("-", "_").split(".")

        # Down to the part that has the option
        part = plain
        for key in path:
            part = part.setdefault(key, {}) if isinstance(part, dict) else None
        if not isinstance(part, dict):
            raise SpecError(Fault(f"unknown option {quoted(name)}", where=where))

        part[last] = value

    # Names and values are checked as those of a file are
    return from_plain(RunSpec, plain, where=where, choices=CHOICES)
