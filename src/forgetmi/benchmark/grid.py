"""Which models a benchmark needs: methods x forget percentages x draws x training seeds x unlearning seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from forgetmi.benchmark.settings import Setting
from forgetmi.core.arrays import Ints
from forgetmi.core.model_names import retrained_name
from forgetmi.core.seeding import derive
from forgetmi.run.applicable import check_models
from forgetmi.run.device import device_of
from forgetmi.run.fingerprint import fingerprint
from forgetmi.run.prepared import trained_rows
from forgetmi.run.run_data import open_cohort, open_run, split_seed
from forgetmi.run.run_models import model_seed
from forgetmi.run.spec import RunSpec, to_plain

Role = Literal["original", "retrain", "unlearn"]

# Their order is that in which they are made
ROLES: tuple[Role, ...] = ("original", "retrain", "unlearn")


@dataclass(frozen=True)
class Cell:
    """One model.

    Args:
        role: The original, one trained without the forgotten, or one that unlearned.
        spec: The run it belongs to; its root seed is the training seed.
        number: Which retrained model, or the unlearning seed.
        setting: Row of the table; empty for other roles.
        digest: Of everything that determines it.
        original: Digest of the model it starts from; empty for other roles.
        identity: What the digest is of.
    """

    role: Role
    spec: RunSpec
    number: int
    setting: str
    digest: str
    original: str
    identity: str

    @property
    def seed(self) -> int:
        """Root seed of this model."""
        if self.role == "retrain":
            return model_seed(self.spec, retrained_name(self.number))

        # The first unlearning seed is the training seed
        if self.number == 0:
            return self.spec.seed
        return derive(self.spec.seed, "unlearn", self.number)

    @property
    def label(self) -> str:
        """Name for people."""
        # The place in the grid, in words
        partition = self.spec.partition
        forgotten = f"{partition.percent:g} %, draw {partition.draw}"
        seed = f"seed {self.spec.seed}"

        if self.role == "retrain":
            return f"retrained {self.number}, {forgotten}, {seed}"
        if self.role == "unlearn":
            further = f".{self.number}" if self.number else ""
            return f"{self.setting}, {forgotten}, {seed}{further}"

        # The usual original serves every forget set; one of a method's own does not.
        if self.setting:
            return f"original for {self.setting}, {forgotten}, {seed}"
        return f"original, {seed}"


@dataclass(frozen=True)
class Point:
    """All models of one forget set and one training seed, which are measured together.

    Args:
        spec: The run they belong to.
        original: The usual original.
        retrains: Those trained without the forgotten.
        unlearned: Per row of the table, one model an unlearning seed.
        own: Originals of the methods that need more of their original's training than its weights.
    """

    spec: RunSpec
    original: Cell
    retrains: tuple[Cell, ...]
    unlearned: Mapping[str, tuple[Cell, ...]]
    own: Mapping[str, Cell]


@dataclass(frozen=True)
class Axes:
    """The sides of the grid.

    Args:
        settings: Rows of the tables, "retrain" left out: it is the reference.
        percents: Forget percentages.
        draws: Number of disjoint forget sets of each percentage.
        training_seeds: Root seeds of original and retrained models.
        unlearning_seeds: 0 = the training seed itself.
    """

    settings: tuple[Setting, ...]
    percents: tuple[float, ...]
    draws: tuple[int, ...]
    training_seeds: tuple[int, ...]
    unlearning_seeds: tuple[int, ...]


def points(spec: RunSpec, axes: Axes) -> list[Point]:
    """Every model of the grid, in the order they are made.

    Args:
        spec: What all have in common; its method, forget percentage and draw are not used.
        axes: What differs.

    Raises:
        ForgetMIError: The cohort cannot be read or divided as specified.
    """
    return [_point(run, axes) for run in _specs(spec, axes)]


def check_methods(spec: RunSpec, axes: Axes) -> None:
    """Refuse methods that cannot work on the model.

    Raises:
        MethodError: At least one cannot; all of them at once.
    """
    specs = [replace(spec, method=setting.method) for setting in axes.settings]
    check_models(specs, open_cohort(spec))


def cells(grid: Sequence[Point]) -> list[Cell]:
    """Every model once: what several forget sets share (an original) is made for the first of them."""
    distinct: dict[str, Cell] = {}
    for point in grid:
        needed = [point.original, *point.own.values(), *point.retrains]
        for row in point.unlearned.values():
            needed += row
        for cell in needed:
            distinct.setdefault(cell.digest, cell)

    # Originals first: the others wait for them, or are compared with what starts from them.
    return sorted(distinct.values(), key=lambda cell: ROLES.index(cell.role))


def _specs(spec: RunSpec, axes: Axes) -> Iterator[RunSpec]:
    """The run of each training seed, percentage and draw; all divide the patients by one seed."""
    for seed in axes.training_seeds:
        for percent, draws in zip(axes.percents, axes.draws, strict=True):
            for draw in range(draws):
                partition = replace(spec.partition, percent=percent, draw=draw)
                yield replace(
                    spec,
                    seed=seed,
                    split_seed=split_seed(spec),
                    partition=partition,
                )


def _point(spec: RunSpec, axes: Axes) -> Point:
    """All models of one run's forget set and training seed."""
    # What all methods share
    usual = _cell("original", replace(spec, method=RunSpec().method))
    retrains = [_cell("retrain", spec, number=number) for number in range(spec.retrains)]

    own = {}
    unlearned = {}
    for setting in axes.settings:
        name = setting.name
        run = replace(spec, method=setting.method)

        # Some methods need an original of their own.
        if "training log" in setting.method.info.reads:
            own[name] = _cell("original", run, setting=name)
        original = own.get(name, usual).digest

        row = []
        for number in axes.unlearning_seeds:
            row.append(_cell("unlearn", run, number=number, setting=name, original=original))
        unlearned[name] = tuple(row)
    return Point(spec, usual, tuple(retrains), unlearned, own)


def _cell(
    role: Role, spec: RunSpec, *, number: int = 0, setting: str = "", original: str = ""
) -> Cell:
    """One model with the digest of everything that determines it."""
    # The digest is filled in once the identity is known
    cell = Cell(role, spec, number, setting, "", original, "")
    identity = _identity(cell)

    # Sorted, so that the order of its parts does not count
    text = json.dumps(identity, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return replace(cell, digest=digest, identity=text)


def _identity(cell: Cell) -> dict[str, Any]:
    """Everything that determines a model."""
    # The rows it was trained on
    spec = cell.spec
    data = open_run(spec)
    partition = data.partition
    trained = trained_rows(partition, without_forgotten=cell.role == "retrain")

    # A method has a part in what it unlearned, and in an original of its own.
    method = spec.method if cell.setting else None
    identity: dict[str, Any] = {
        **fingerprint(data.prepared, partition, method),
        "role": cell.role,
        "seed": cell.seed,
        "model": _plain(replace(spec.model, download=False)),
        "training": _plain(spec.training),
        "trained on": _digest_of_rows(trained),
        "validation": _digest_of_rows(partition.validation),
        "device": device_of(spec),
        "threads": spec.threads,
    }

    # What changes results by rounding and more, where it is not as ever
    if spec.film_bits != 16:
        identity["film bits"] = spec.film_bits
    if spec.compile != "off":
        identity["compile"] = spec.compile

    # What only a method reads
    if cell.setting:
        identity |= {
            "method": _plain(spec.method),
            "forget": _digest_of_rows(partition.forget),
            "retain": _digest_of_rows(partition.retain),
            "batch_size": spec.batch_size,
            "original": cell.original,
        }
        if spec.moves.kind != "full":
            identity["carrier"] = str(spec.moves)
    return identity


@lru_cache(maxsize=256)
def _plain(part: Any) -> Any:
    return to_plain(part)


def _digest_of_rows(rows: Ints) -> str:
    return hashlib.sha256(rows.tobytes()).hexdigest()
