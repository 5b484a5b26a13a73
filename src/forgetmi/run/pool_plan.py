"""What a standing pool is: its folds, who is in which, which members serve targets and which serve audits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_json
from forgetmi.core.json_text import read_json
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.serialization import from_plain
from forgetmi.model.recipe import Recipe

PLAN, FOLDS = "plan.json", "folds.json"

# Folders of a pool by what its members may be used for
AUDIT, TARGET = "audit", "target"


@dataclass(frozen=True)
class PoolPlan:
    """What a standing pool is; stored in it.

    Args:
        folds: K, >= 2. A member is trained without one fold; the more folds, the less it differs from a model that was
            retrained without the forgotten alone, and the more members there are.
        repetitions: How often everybody is left out once for audits, >= 1: as many references a request has.
        targets: How often, besides, for methods, >= 0. No member serves both: else the audit is flattered.
        seed: Root seed of folds and members.
        keep_models: Whether the members' weights are kept; signals always are.
        cohort: Digest of the cohort.
        original: Digest of the weights of the model in service, whose vocabulary and image rules the members share.
        recipe: How each member is trained.
        people: Digest of the folds.
    """

    folds: int
    repetitions: int
    targets: int
    seed: int
    keep_models: bool
    cohort: str
    original: str
    recipe: Recipe
    people: str

    def members(self) -> Iterator[Member]:
        """Every member, those for audits first."""
        for repetition in range(self.repetitions + self.targets):
            for fold in range(self.folds):
                use = AUDIT if repetition < self.repetitions else TARGET
                yield Member(repetition, fold, use)


@dataclass(frozen=True)
class Member:
    """One model of a pool.

    Args:
        repetition: From 0.
        fold: The fold that it is trained without, from 0.
        use: "audit" or "target".
    """

    repetition: int
    fold: int
    use: str

    @property
    def name(self) -> str:
        """How its files are called."""
        return f"member-{self.repetition}-{self.fold}"


@dataclass(frozen=True)
class Folds:
    """Who is in which fold.

    Args:
        patients: Keyed digests of the patients of the training side, sorted.
        fold: One list for each repetition, the fold of each patient.
    """

    patients: tuple[str, ...]
    fold: tuple[tuple[int, ...], ...]

    @property
    def digest(self) -> str:
        """SHA-256 of who is in which fold, in hex."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def of(self, repetition: int, patients: Strings) -> Ints:
        """Int[n], the fold of each of some patients in one repetition; -1 = not of the training side."""
        known = dict(zip(self.patients, self.fold[repetition], strict=True))
        return np.array([known.get(str(patient), -1) for patient in patients], np.int64)


def draw_folds(
    cohort: Cohort, partition: Partition, *, folds: int, repetitions: int, seed: int
) -> Folds:
    """Folds of the training side, by patient; a group (family) stays together.

    Args:
        cohort, partition: Of the model in service. Who withdrew earlier is in no fold.
        folds: K.
        repetitions: How many independent draws.
        seed: Root seed.

    Raises:
        SpecError: There are fewer groups than folds.
    """
    now = partition.of_request()
    rows = np.concatenate([now.forget, now.retain])
    group_of = dict(zip(map(str, cohort.patient[rows]), map(str, cohort.group[rows]), strict=True))
    patients = tuple(sorted(group_of))
    groups = sorted(set(group_of.values()))
    if not 2 <= folds <= len(groups):
        raise SpecError(
            Fault(
                f"{folds} folds are not possible",
                where="--folds",
                why=f"the training side has {len(groups)} patients or groups",
                do=f"Ask for 2 to {len(groups)}.",
            )
        )

    # A random order of the groups, dealt out in turn: folds differ by one group at most
    drawn = []
    for repetition in range(repetitions):
        order = numpy_generator(seed, "pool", "folds", repetition).permutation(len(groups))
        fold_of = {groups[group]: place % folds for place, group in enumerate(order)}
        drawn.append(tuple(fold_of[group_of[patient]] for patient in patients))
    return Folds(patients, tuple(drawn))


def plan_text(plan: PoolPlan) -> str:
    """A plan as stored."""
    return json.dumps(asdict(plan), indent=1, sort_keys=True) + "\n"


def read_plan(root: Path) -> PoolPlan:
    """The plan of a pool.

    Raises:
        SpecError: The directory holds no pool, or the file is damaged.
    """
    if not (root / PLAN).exists() or not (root / FOLDS).exists():
        raise SpecError(
            Fault(
                "this is no directory of a pool",
                where=root.name,
                do="Give the --out of forgetmi pool make.",
            )
        )
    values = read_json(root / PLAN, what="the plan of the pool", do=_RESTORE)
    return from_plain(PoolPlan, values, where=PLAN, complete=True)


def write_folds(root: Path, folds: Folds) -> None:
    """Store who is in which fold: drawn once, and read from then on."""
    write_json(root / FOLDS, asdict(folds))


def read_folds(root: Path, plan: PoolPlan) -> Folds:
    """Who is in which fold of a pool.

    Raises:
        SpecError: The file is damaged, or not that of the plan.
    """
    values = read_json(root / FOLDS, what="the folds of the pool", do=_RESTORE)
    folds = from_plain(Folds, values, where=FOLDS, complete=True)
    whole = len(folds.fold) == plan.repetitions + plan.targets
    if not whole or folds.digest != plan.people:
        raise SpecError(
            Fault("the folds are not those of the pool's plan", where=FOLDS, do=_RESTORE)
        )
    return folds


_RESTORE = "Restore the file, or make the pool again with another --out."
