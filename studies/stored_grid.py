"""The models of a `forgetmi benchmark` directory as an auditor sees them; no model is run.

A forget set of one training seed is used when its original and all its retrained models are there. What is not there
yet is left out and named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from forgetmi.audit.verdict import Outcome
from forgetmi.benchmark.grid import Axes, Cell, Point, cells, points
from forgetmi.benchmark.progress import duration
from forgetmi.benchmark.store import Store
from forgetmi.commands.benchmark_axes import read_axes
from forgetmi.commands.benchmark_options import USED, BenchmarkOptions
from forgetmi.commands.options import parse
from forgetmi.core.arrays import Floats, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.model_names import is_retrained, retrained_name
from forgetmi.core.partition import Partition, SetName
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import TODAYS_CHANNELS, Channel
from forgetmi.evaluation.patients import Patients
from forgetmi.run.run_data import open_run
from pages import hardware

ORIGINAL = "original"
SHORT: Mapping[Outcome, str] = {
    "FORGOTTEN": "F",
    "NOT FORGOTTEN": "N",
    "OVER-FORGOTTEN": "O",
    "NOT RESOLVABLE": "?",
}
LEGEND = ", ".join(f"{letter} = {name}" for name, letter in SHORT.items())


@dataclass(frozen=True, eq=False)
class ForgetSet:
    """One forget set of one training seed.

    Args:
        seed: Training seed.
        draw: Which of the disjoint sets.
        cohort, partition: Who is who.
        signals: "original", "retrain-0" ... and each method's label to what the model says.
    """

    seed: int
    draw: int
    cohort: Cohort
    partition: Partition
    signals: Mapping[str, Signals]

    @property
    def retrains(self) -> list[str]:
        """Names of the retrained models."""
        return [name for name in self.signals if is_retrained(name)]

    @cached_property
    def knowledge(self) -> dict[Channel, AdversaryKnowledge]:
        """The set through each channel; aim it at a model."""
        return {
            channel: AdversaryKnowledge(
                self.partition,
                self.signals,
                task=self.cohort.task,
                channel=channel,
                target=ORIGINAL,
            )
            for channel in TODAYS_CHANNELS
        }

    def digest(self, code: int) -> str:
        """Keyed digest of a patient code."""
        return str(codes(self.cohort.patient)[1][code])


@dataclass(frozen=True, eq=False)
class Grid:
    """What a directory holds.

    Args:
        sets: Complete as to original and retrained models.
        settings: Label of each method to its registered name.
        asked: Models asked for.
        missing: Those that are not there.
    """

    sets: tuple[ForgetSet, ...]
    settings: Mapping[str, str]
    asked: tuple[Cell, ...]
    missing: tuple[Cell, ...]

    def by_seed(self) -> Iterator[tuple[int, list[ForgetSet]]]:
        """The forget sets of each training seed."""
        for seed in dict.fromkeys(one.seed for one in self.sets):
            yield seed, [one for one in self.sets if one.seed == seed]

    def said(self, *, methods: bool) -> str:
        """What the numbers rest on, in a sentence or two.

        Args:
            methods: Whether the methods' models are used, too.
        """
        people = sum(len(one.knowledge["link"].patients("forget")) for one in self.sets)
        text = (
            f"Training seeds {', '.join(str(seed) for seed, _ in self.by_seed())}; {len(self.sets)} forget sets, "
            f"{people} forgotten patients."
        )
        used = [cell for cell in self.asked if methods or cell.role != "unlearn"]
        missing = sum(cell in self.missing for cell in used)
        if missing:
            text += f" Left out, failed or not made yet: {missing} of {len(used)} models."
        return text


@dataclass(frozen=True, eq=False)
class Seen:
    """Patient signals of one channel in place of the signals they come from, as `score_draw` reads them.

    Args:
        people: The forgotten, held-out and reference patients.
        values: Model to set to Float[p].
        audited: The model that is judged, against the other retrained ones.
    """

    people: Mapping[SetName, Patients]
    values: Mapping[str, Mapping[SetName, Floats]]
    audited: str

    @property
    def retrained(self) -> list[str]:
        return [name for name in self.values if name not in (self.audited, ORIGINAL)]

    def patients(self, on: SetName) -> Patients:
        return self.people[on]

    @property
    def never_seen(self) -> tuple[SetName, ...]:
        return tuple(on for on in self.people if on != "forget")

    def signal(self, model: str, on: SetName) -> Floats:
        return self.values[model][on]


def seen_by(
    knowledge: AdversaryKnowledge, names: Sequence[str], partition: Partition, *, audited: str
) -> Seen:
    """The patient signals of some models on the sets of a partition."""
    knowledge = replace(knowledge, partition=partition)
    sides: list[SetName] = ["forget", *knowledge.never_seen]
    return Seen(
        {on: knowledge.patients(on) for on in sides},
        {
            name: {on: knowledge.signal(knowledge.signals[name], on) for on in sides}
            for name in names
        },
        audited,
    )


def asked_for(argv: Sequence[str], *, prog: str) -> tuple[Axes, Store, list[Point]]:
    """What `forgetmi benchmark` would make of these options, and where it is kept.

    Args:
        argv: The options that were given to `forgetmi benchmark`, --out among them.
        prog: Name of the script, for messages.
    """
    spec, own = parse(
        BenchmarkOptions, argv, prog=prog, only=USED, description="Options of `forgetmi benchmark`."
    )
    axes = read_axes(spec, own)
    return axes, Store(own.out), points(spec, axes)


def machine(store: Store) -> str:
    """Processor and cores of the machine the models were made on; this one where the benchmark is not finished."""
    manifest = store.root / "manifest.json"
    if not manifest.exists():
        return hardware()
    stored = json.loads(manifest.read_text(encoding="utf-8"))
    return f"{stored['processor']}, {stored['cores']} cores"


def made_by(store: Store, axes: Axes, grid: Sequence[Point]) -> str:
    """Seeds, hardware and hours behind a directory's tables, and what is missing.

    Args:
        store: The directory.
        axes, grid: What was asked for; see `asked_for`.
    """
    every = cells(grid)
    outcomes = [found for cell in every if (found := store.outcome(cell.digest)) is not None]
    failed = sum(bool(one.reason) for one in outcomes)
    return (
        f"Training seeds {', '.join(map(str, axes.training_seeds))}; {len(outcomes)} of {len(every)} models made, "
        f"{failed} failed; {duration(sum(one.cost.cpu_seconds for one in outcomes))} of processor time in all, on "
        f"{machine(store)}."
    )


def read_grid(argv: Sequence[str], *, prog: str) -> Grid:
    """Read a benchmark's directory.

    Args:
        argv: The options that were given to `forgetmi benchmark`, --out among them.
        prog: Name of the script, for messages.
    """
    axes, store, grid = asked_for(argv, prog=prog)
    labels = {setting.name: setting.label for setting in axes.settings}
    sets = [found for point in grid if (found := _read(store, point, labels)) is not None]
    every = {cell.digest: cell for point in grid for cell in _cells(point)}
    return Grid(
        tuple(sets),
        {setting.label: setting.kind for setting in axes.settings},
        tuple(every.values()),
        tuple(cell for cell in every.values() if not store.finished(cell.digest)),
    )


def _cells(point: Point) -> Iterable[Cell]:
    return (
        point.original,
        *point.retrains,
        *(cell for row in point.unlearned.values() for cell in row),
    )


def _read(store: Store, point: Point, labels: Mapping[str, str]) -> ForgetSet | None:
    named = {
        ORIGINAL: point.original,
        **{retrained_name(at): cell for at, cell in enumerate(point.retrains)},
    }
    if not all(store.finished(cell.digest) for cell in named.values()):
        return None
    for name, row in point.unlearned.items():
        for at, cell in enumerate(row):
            if store.finished(cell.digest):
                named[labels[name] + (f", unlearning seed {cell.number}" if at else "")] = cell
    data = open_run(point.spec)
    return ForgetSet(
        point.spec.seed,
        point.spec.partition.draw,
        data.cohort,
        data.partition,
        {name: store.signals(cell.digest) for name, cell in named.items()},
    )
