"""Ranges of options, declared where an option is: ``epochs: Annotated[int, AtLeast(0)] = 5``."""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from forgetmi.core.plain_text import LEAST_NUMBER, MOST_NUMBER


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
class AtMost:
    """Values up to a limit.

    Args:
        limit: The largest value.
    """

    limit: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return value <= self.limit

    def __str__(self) -> str:
        return f"at most {self.limit:g}"


@dataclass(frozen=True)
class Below:
    """Values below a limit.

    Args:
        limit: The smallest value that is too large.
    """

    limit: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return value < self.limit

    def __str__(self) -> str:
        return f"below {self.limit:g}"


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


# Passes over data, rates, weights of losses and of decay, shares of a whole, and whole numbers of things.
Epochs = Annotated[int, AtLeast(0), AtMost(1_000_000)]
LearningRate = Annotated[float, Above(0)]
Weight = Annotated[float, AtLeast(0)]
Positive = Annotated[float, Above(0)]
Share = Annotated[float, Between(0, 1)]
ShareBelowOne = Annotated[float, AtLeast(0), Below(1)]
Number = Annotated[int, AtLeast(0), AtMost(1_000_000_000)]
Draws = Annotated[int, AtLeast(1), AtMost(1_000_000)]

Percent = Annotated[float, Above(0), Below(100)]

# Root seeds
Seed = Annotated[int, AtLeast(0)]

_RANGES = (AtLeast, AtMost, Above, Below, Between)


def range_faults(part: Any, name: str = "") -> list[str]:
    """What is wrong with the numbers of a dataclass and of those in it, e.g. "method.lr must be above 0".

    Args:
        part: The dataclass, or several of them in a tuple; other values have no faults.
        name: Dotted name of the part, put before its fields' names.

    Returns:
        One sentence a fault, in the order of the fields; a number that is none (NaN), infinite, or of more than 64
        bits is a fault everywhere.
    """
    if isinstance(part, tuple):
        faults = []
        for position, element in enumerate(part):
            faults += range_faults(element, f"{name}[{position}]")
        return faults

    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return []

    faults = []
    ranges = _ranges_of(type(part))
    for f in dataclasses.fields(part):
        value = getattr(part, f.name)
        path = f"{name}.{f.name}" if name else f.name
        faults += _value_faults(value, path, ranges.get(f.name, ()))
    return faults


def _value_faults(value: Any, path: str, ranges: tuple[Any, ...]) -> list[str]:
    """What is wrong with the value of one field, or with those in it."""
    if isinstance(value, tuple):
        faults = []
        for position, element in enumerate(value):
            faults += _value_faults(element, f"{path}[{position}]", ranges)
        return faults

    if isinstance(value, bool) or not isinstance(value, int | float):
        return range_faults(value, path)

    if isinstance(value, float) and math.isnan(value):
        return [f"{path} is not a number"]
    if isinstance(value, float) and math.isinf(value):
        return [f"{path} must be finite"]
    if isinstance(value, int) and not LEAST_NUMBER <= value <= MOST_NUMBER:
        return [f"{path} must be a whole number of at most 64 bits"]
    return [f"{path} must be {r}" for r in ranges if not r.holds(value)]


@lru_cache(maxsize=256)
def _ranges_of(cls: type) -> dict[str, tuple[Any, ...]]:
    """The declared ranges of a dataclass, by field; of a tuple's elements, those declared for them."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (
        NameError
    ):  # another package's class, annotated with names that are imported for type checkers alone
        return {}

    return {name: _declared(hint) for name, hint in hints.items()}


def _declared(hint: Any) -> tuple[Any, ...]:
    """The ranges in a type: its own, or those of what it holds (``X | None``, ``tuple[X, ...]``)."""
    metadata = getattr(hint, "__metadata__", ())
    own = tuple(entry for entry in metadata if isinstance(entry, _RANGES))
    if own:
        return own

    for inner in typing.get_args(hint):
        if declared := _declared(inner):
            return declared
    return ()
