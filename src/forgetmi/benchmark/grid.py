"""Which models a benchmark needs: methods x forget percentages x draws x training seeds x unlearning seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import yaml

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.model_names import retrained_name
from forgetmi.core.registry import methods
from forgetmi.core.seeding import derive
from forgetmi.core.serialization import from_plain
from forgetmi.methods.forget_mi import WEIGHTS
from forgetmi.run.device import device_of
from forgetmi.run.fingerprint import fingerprint
from forgetmi.run.prepared import trained_rows
from forgetmi.run.run_data import open_run
from forgetmi.run.run_models import model_seed
from forgetmi.run.spec import RunSpec, to_plain
from forgetmi.unlearning.info import MethodInfo

Role = Literal["original", "retrain", "unlearn"]
RETRAIN = "retrain"  # the registered method that is the reference itself
PAPER = (RETRAIN, "neg_grad_plus", "scrub", "cf_k", "eu_k", "multi_delete", "forget_mi")
REQUIRED = (*PAPER, "scrub:rewind=error")  # and SCRUB+R, which the paper's tables lack
PRESETS = tuple(f"forget_mi:setting={name}" for name in WEIGHTS)


@dataclass(frozen=True)
class Setting:
    """A method with options: one row of a table.

    Args:
        name: As typed, e.g. ``forget_mi:setting=unimodal``.
        method: The method.
    """

    name: str
    method: Any

    @property
    def label(self) -> str:
        """Name for a table."""
        info: MethodInfo = self.method.info
        options = self.name.partition(":")[2]
        return (
            f"{info.title} ({options.replace(',', ', ').replace('=', ' ')})"
            if options
            else info.title
        )

    @property
    def kind(self) -> str:
        """The method's registered name."""
        return self.name.partition(":")[0]


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
        return (
            self.spec.seed if self.number == 0 else derive(self.spec.seed, "unlearn", self.number)
        )

    @property
    def label(self) -> str:
        """Name for people."""
        forgotten = f"{self.spec.partition.percent:g} %, draw {self.spec.partition.draw}"
        if self.role == "original":
            return (
                f"original for {self.setting}, {forgotten}, seed {self.spec.seed}"
                if self.setting
                else f"original, seed {self.spec.seed}"
            )
        if self.role == "retrain":
            return f"retrained {self.number}, {forgotten}, seed {self.spec.seed}"
        return f"{self.setting}, {forgotten}, seed {self.spec.seed}" + (
            f".{self.number}" if self.number else ""
        )


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


def read_setting(text: str) -> Setting:
    """A method with options from ``NAME`` or ``NAME:option=value,option=value``.

    Raises:
        SpecError: The method or an option is unknown, or a value does not fit.
    """
    kind, _, options = text.partition(":")
    pairs = [pair.partition("=") for pair in options.split(",") if pair]
    faults = [
        Fault(
            f"{''.join(pair)!r} is no option",
            where=text,
            do="Write NAME:option=value,option=value.",
        )
        for pair in pairs
        if not pair[1]
    ]
    if faults:
        raise SpecError(faults)
    values = {name.strip(): yaml.safe_load(value) for name, _, value in pairs}
    return Setting(text, from_plain(methods.get(kind), values, where=text))


def all_methods() -> tuple[str, ...]:
    """Every registered method, those of the paper first, then SCRUB+R."""
    return (*REQUIRED, *(name for name in methods.names() if name not in PAPER))


def points(spec: RunSpec, axes: Axes) -> list[Point]:
    """Every model of the grid, in the order they are made.

    Args:
        spec: What all have in common; its method, forget percentage and draw are not used.
        axes: What differs.

    Raises:
        ForgetMIError: The cohort cannot be read or divided as asked.
    """
    return [_point(at, axes) for at in _specs(spec, axes)]


def cells(grid: Sequence[Point]) -> list[Cell]:
    """Every model once: what several forget sets share (an original) is made for the first of them."""
    found: dict[str, Cell] = {}
    for point in grid:
        unlearned = [cell for row in point.unlearned.values() for cell in row]
        for cell in (point.original, *point.own.values(), *point.retrains, *unlearned):
            found.setdefault(cell.digest, cell)
    return sorted(
        found.values(), key=lambda cell: ("original", "retrain", "unlearn").index(cell.role)
    )


def _specs(spec: RunSpec, axes: Axes) -> Iterator[RunSpec]:
    split = spec.seed if spec.split_seed is None else spec.split_seed
    for seed in axes.training_seeds:
        for percent, draws in zip(axes.percents, axes.draws, strict=True):
            for draw in range(draws):
                yield replace(
                    spec,
                    seed=seed,
                    split_seed=split,
                    partition=replace(spec.partition, percent=percent, draw=draw),
                )


def _point(spec: RunSpec, axes: Axes) -> Point:
    usual = _cell("original", replace(spec, method=RunSpec().method))
    runs = {setting.name: replace(spec, method=setting.method) for setting in axes.settings}
    own = {
        name: _cell("original", run, setting=name)
        for name, run in runs.items()
        if _keeps_log(run.method)
    }
    return Point(
        spec,
        usual,
        tuple(_cell("retrain", spec, number=number) for number in range(spec.retrains)),
        {
            name: tuple(
                _cell(
                    "unlearn",
                    run,
                    number=number,
                    setting=name,
                    original=own.get(name, usual).digest,
                )
                for number in axes.unlearning_seeds
            )
            for name, run in runs.items()
        },
        own,
    )


def _keeps_log(method: Any) -> bool:
    """Whether a method needs an original of its own."""
    return "training log" in method.info.reads


def _cell(
    role: Role, spec: RunSpec, *, number: int = 0, setting: str = "", original: str = ""
) -> Cell:
    cell = Cell(role, spec, number, setting, "", original, "")
    data = open_run(spec)
    prepared, partition = data.prepared, data.partition
    trained = trained_rows(partition, without_forgotten=role == "retrain")
    identity: dict[str, Any] = {
        **fingerprint(prepared, partition, spec.method if setting else None),
        "role": role,
        "seed": cell.seed,
        "model": _plain(replace(spec.model, download=False)),
        "training": _plain(spec.training),
        "trained on": _rows(trained),
        "validation": _rows(partition.validation),
        "device": device_of(spec),
        "threads": spec.threads,
    }
    if setting:  # the method has a part in it
        identity |= {
            "method": _plain(spec.method),
            "forget": _rows(partition.forget),
            "retain": _rows(partition.retain),
            "batch_size": spec.batch_size,
            "original": original,
        }
    text = json.dumps(identity, sort_keys=True)
    return replace(cell, digest=hashlib.sha256(text.encode()).hexdigest()[:32], identity=text)


@lru_cache(maxsize=256)
def _plain(part: Any) -> Any:
    return to_plain(part)


def _rows(rows: Ints) -> str:
    return hashlib.sha256(rows.tobytes()).hexdigest()
