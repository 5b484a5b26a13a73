"""What every specification of a tower offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import Fault, SpecError

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor

    from forgetmi.model.towers.protocol import Tower

SERIES = "series"

# Of ImageNet, which most towers of photographs were trained on
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Largest width of a layer and largest side of an image
MOST_UNITS = 100_000
MOST_SIDE = 4096


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What towers learn of the training patients before they are made.

    Args:
        columns: Names of the columns of the table.
        table: Float[n, c] of the training rows alone; NaN = missing.
        categorical: Names of the columns that hold codes of categories.
    """

    columns: tuple[str, ...] = ()
    table: Floats | None = None
    categorical: tuple[str, ...] = ()


class TowerSpec(Protocol):
    """What a class that is registered in ``forgetmi.towers`` offers: a frozen dataclass of plain values."""

    # Which inputs it reads
    modality: ClassVar[str]

    # How many of the first stages do not move, and whether the weights have seen the cohort's patients
    frozen: int
    saw_patients: bool

    @property
    def size(self) -> int:
        """Side of the images it reads, pixels; 0 = it reads no images."""
        ...

    def resolve(self, training: TrainingData) -> Self:
        """The same with what its files and the training patients say; nothing is fetched unless it says so."""
        ...

    def build(self) -> Tower:
        """The tower, with random weights."""
        ...

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """Its public weights by the names that they have in the tower; None = it starts at random."""
        ...


def tower_class(name: str) -> Any:
    """The module of a tower, by "module:class"; it loads torch."""
    return resolve_name(name)


def refuse_missing_source(source: str, *, random: bool, where: str, what: str) -> None:
    """Refuse a tower that is to have public weights without a word where they are.

    Raises:
        SpecError: Nothing is named, and random weights were not asked for.
    """
    if not source and not random:
        raise SpecError(
            Fault(
                "no pretrained weights are named", where=where, do=f"Name {what}, or random=true."
            )
        )


def number_faults(where: str, values: Mapping[str, int], *, most: int = MOST_UNITS) -> list[Fault]:
    """A fault for each number that is less than 1 or more than any tower has."""
    faults = []
    for name, value in values.items():
        if not 1 <= value <= most:
            faults.append(
                Fault(f"{name} is {value}", where=where, why=f"1 to {most:,} are possible")
            )
    return faults


def scale_faults(where: str, mean: Sequence[float], std: Sequence[float]) -> list[Fault]:
    """Faults of means and standard deviations that do not belong together, or divide by nothing."""
    if len(mean) == len(std) and all(value > 0 for value in std):
        return []
    return [
        Fault(
            "mean and std do not fit",
            where=where,
            why="each needs as many numbers as the other, and std numbers above 0",
        )
    ]
