"""Ranges of options, declared where an option is: ``epochs: Annotated[int, AtLeast(0)] = 5``."""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any


@dataclass(frozen=True)
class AtLeast:
    """Values from a limit upwards.

    Args:
        limit: The smallest value.
    """

    limit: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return value >= self.limit

    def __str__(self) -> str:
        return f"at least {self.limit:g}"


@dataclass(frozen=True)
class Above:
    """Values above a limit.

    Args:
        limit: The largest value that is too small.
    """

    limit: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return value > self.limit

    def __str__(self) -> str:
        return f"above {self.limit:g}"


@dataclass(frozen=True)
class Between:
    """Values between two limits, both included.

    Args:
        low, high: The limits.
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Finite:
    """Every value but an infinite one."""

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return not math.isinf(value)

    def __str__(self) -> str:
        return "finite"


Epochs = Annotated[int, AtLeast(0)]
LearningRate = Annotated[float, Above(0)]

_RANGES = (AtLeast, Above, Between, Finite)


def range_faults(part: Any, name: str = "") -> list[str]:
    """What is wrong with the numbers of a dataclass and of those in it, e.g. "method.lr must be above 0".

    Args:
        part: The dataclass; other values have no faults.
        name: Dotted name of the part, put before its fields' names.

    Returns:
        One sentence a fault, in the order of the fields; a number that is none (NaN) is a fault everywhere.
    """
    if not dataclasses.is_dataclass(part):
        return []

    faults = []
    ranges = _ranges_of(type(part))
    for f in dataclasses.fields(part):
        value = getattr(part, f.name)
        path = f"{name}.{f.name}" if name else f.name
        if isinstance(value, float) and math.isnan(value):
            faults.append(f"{path} is not a number")
        elif isinstance(value, int | float):
            faults += [f"{path} must be {r}" for r in ranges.get(f.name, ()) if not r.holds(value)]
        else:
            faults += range_faults(value, path)
    return faults


@lru_cache(maxsize=256)
def _ranges_of(cls: type) -> dict[str, tuple[Any, ...]]:
    """The declared ranges of a dataclass, by field."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (
        NameError
    ):  # another package's class, annotated with names that are imported for type checkers alone
        return {}

    declared = {}
    for field_name, hint in hints.items():
        metadata = getattr(hint, "__metadata__", ())
        declared[field_name] = tuple(entry for entry in metadata if isinstance(entry, _RANGES))
    return declared
