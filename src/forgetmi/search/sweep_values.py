"""What a parameter of a sweep may be: one value, several (with probabilities), or drawn from a distribution."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from scipy.stats import beta, norm

from forgetmi.core.printable import MOST_VALUE, printable, quoted

# What distributions are described by: the ends of the value or of its logarithm, its mean and deviation, or its shape.
_RANGE = frozenset({"min", "max"})
_NORMAL = frozenset({"mu", "sigma"})
_BETA = frozenset({"a", "b"})
_STEP = frozenset({"q"})  # the value is rounded to a multiple of it

DISTRIBUTIONS: dict[str, frozenset[str]] = {
    "uniform": _RANGE,
    "int_uniform": _RANGE,
    "log_uniform": _RANGE,
    "log_uniform_values": _RANGE,
    "inv_log_uniform": _RANGE,
    "inv_log_uniform_values": _RANGE,
    "q_uniform": _RANGE | _STEP,
    "q_log_uniform": _RANGE | _STEP,
    "q_log_uniform_values": _RANGE | _STEP,
    "normal": _NORMAL,
    "log_normal": _NORMAL,
    "q_normal": _NORMAL | _STEP,
    "q_log_normal": _NORMAL | _STEP,
    "beta": _BETA,
    "q_beta": _BETA | _STEP,
}


# Most values of one parameter, and most combinations of all
MOST_VALUES = 1_000_000


@dataclass(frozen=True)
class Distribution:
    """What a parameter is drawn from.

    Args:
        kind: One of `DISTRIBUTIONS`.
        low, high: Ends, of the value, or of its natural logarithm for ``log_uniform`` and ``inv_log_uniform``.
        mu, sigma: Of the value, or of its logarithm for ``log_normal``.
        q: The value is rounded to a multiple of it, and is a whole number where q is one; 0 = not rounded.
        a, b: Shape of ``beta``.
    """

    kind: str
    low: float = 0.0
    high: float = 1.0
    mu: float = 0.0
    sigma: float = 1.0
    q: float = 0.0
    a: float = 1.0
    b: float = 1.0

    def at(self, share: float) -> float | int:
        """The value below which ``share`` (0 to 1) of all draws lie; of the inverse distributions, above which.

        Examples:
            >>> Distribution("uniform", low=2, high=4).at(0.5)
            3.0
            >>> round(Distribution("log_uniform_values", low=1e-4, high=1e-2).at(0.5), 6)
            0.001
        """
        kind = self.kind.removeprefix("q_")
        if kind == "int_uniform":
            width = self.high - self.low + 1
            return min(int(self.low + share * width), int(self.high))
        if kind == "beta":
            return self._rounded(float(beta.ppf(share, self.a, self.b)))
        if kind in ("normal", "log_normal"):
            return self._rounded(self._normal(kind, share))
        return self._rounded(self._between(kind, share))

    def _normal(self, kind: str, share: float) -> float:
        """A value of a normal distribution, or of one of the logarithm; finite at both ends."""
        inner = min(max(share, 1e-9), 1 - 1e-9)
        value = self.mu + self.sigma * float(norm.ppf(inner))
        return math.exp(value) if kind == "log_normal" else value

    def _between(self, kind: str, share: float) -> float:
        """A value between two ends, on the scale of the value or of its logarithm."""
        low, high = self.low, self.high
        if kind.endswith("_values"):
            low, high = math.log(low), math.log(high)

        value = low + share * (high - low)
        if kind == "uniform":
            return value
        return math.exp(-value) if kind == "inv_log_uniform" else math.exp(value)

    def steps(self) -> tuple[float | int, ...] | None:
        """What a grid tries: every whole number, or every step of q below the upper end; None = there is no grid.

        Source: grid_search_next_runs in wandb/sweeps.

        Examples:
            >>> Distribution("q_uniform", low=0, high=1, q=0.25).steps()
            (0.0, 0.25, 0.5, 0.75)
        """
        if self.kind == "int_uniform":
            return tuple(range(int(self.low), int(self.high) + 1))
        if self.kind != "q_uniform":
            return None

        # Steps of q below the upper end
        count = max(1, math.ceil((self.high - self.low) / self.q))
        values = [self.low + step * self.q for step in range(count)]

        # Whole numbers stay whole.
        if _whole(self.q) and _whole(self.low):
            return tuple(int(value) for value in values)
        return tuple(values)

    def _rounded(self, value: float) -> float | int:
        """The nearest multiple of q; the value as it is without one."""
        if not self.q:
            return value
        steps = round(value / self.q)
        return steps * int(self.q) if _whole(self.q) else steps * self.q


@dataclass(frozen=True)
class Weighted:
    """Values with their probabilities.

    Args:
        values: What the parameter may be.
        probabilities: Of each value; their sum is 1.
    """

    values: tuple[Any, ...]
    probabilities: tuple[float, ...]

    def at(self, share: float) -> Any:
        """The value below which ``share`` (0 to 1) of all draws lie, in the order of the values.

        Examples:
            >>> Weighted(("adam", "sgd"), (0.25, 0.75)).at(0.5)
            'sgd'
        """
        cumulative = list(accumulate(self.probabilities))
        position = bisect_right(cumulative, share)

        # Where rounding leaves the sum below 1, the last possible value stands for the rest.
        possible = [index for index, share in enumerate(self.probabilities) if share > 0]
        return self.values[min(position, possible[-1])]


# The values a parameter may have, or what it is drawn from
Choice = tuple[Any, ...] | Distribution | Weighted


def read_choice(entry: Any) -> Choice:
    """What one parameter may be.

    Args:
        entry: Its entry in the sweep file: value, values (with probabilities), or a distribution with what it needs.

    Raises:
        ValueError: It is not understood, with the reason.

    Examples:
        >>> read_choice({"values": [1, 2]}), read_choice({"value": 3})
        ((1, 2), (3,))
        >>> read_choice({"min": 1, "max": 3}).kind
        'int_uniform'
    """
    if not isinstance(entry, dict):
        raise ValueError(f"got {quoted(entry)}")

    # Values with probabilities
    kind = entry.get("distribution")
    if "probabilities" in entry or kind == "categorical_w_probabilities":
        return _weighted(entry)

    # Values as they are
    if set(entry) <= {"value", "distribution"} and "value" in entry and kind in (None, "constant"):
        return (entry["value"],)
    if (
        set(entry) <= {"values", "distribution"}
        and "values" in entry
        and kind in (None, "categorical")
    ):
        return _listed(entry["values"])

    return _distribution(entry)


def _listed(values: Any) -> tuple[Any, ...]:
    """Several values."""
    if not isinstance(values, list) or not values:
        raise ValueError("values is not a list")
    return tuple(values)


def _distribution(entry: Mapping[str, Any]) -> Distribution:
    """A distribution with what it needs; without a name uniform, of whole numbers where both ends are whole."""
    is_whole = isinstance(entry.get("min"), int) and isinstance(entry.get("max"), int)
    kind = entry.get("distribution") or ("int_uniform" if is_whole else "uniform")
    if kind not in DISTRIBUTIONS:
        raise ValueError(f"the distribution {quoted(kind)} is none of {', '.join(DISTRIBUTIONS)}")

    # The ends must be there, the rest has defaults.
    described = DISTRIBUTIONS[kind]
    keys = set(entry) - {"distribution"}
    if not described & _RANGE <= keys <= described:
        given = printable(", ".join(map(str, entry)), MOST_VALUE)
        raise ValueError(f"it has the keys {given}; {kind} knows {', '.join(sorted(described))}")

    # Numbers, also written as text
    values = {key: number(entry[key]) for key in keys}
    distribution = Distribution(
        kind,
        low=values.get("min", 0.0),
        high=values.get("max", 1.0),
        mu=values.get("mu", 0.0),
        sigma=values.get("sigma", 1.0),
        q=values.get("q", 1.0 if "q" in described else 0.0),
        a=values.get("a", 1.0),
        b=values.get("b", 1.0),
    )
    _check(distribution)
    return distribution


def _check(distribution: Distribution) -> None:
    """A distribution's numbers are possible.

    Raises:
        ValueError: They are not.
    """
    kind, low, high = distribution.kind, distribution.low, distribution.high
    if not low <= high or (kind.endswith("_values") and low <= 0):
        raise ValueError(f"the range {low} to {high} is empty or not allowed")
    if kind == "int_uniform" and not (_whole(low) and _whole(high)):
        raise ValueError("min and max of int_uniform must be whole numbers")

    positive = [distribution.sigma, distribution.a, distribution.b]
    if "q" in DISTRIBUTIONS[kind]:
        positive.append(distribution.q)
    if min(positive) <= 0:
        raise ValueError("q, sigma, a and b must be above 0")

    # The values at both ends, and how many a grid has in between
    try:
        ends = [float(distribution.at(share)) for share in (0.0, 0.5, 1.0)]
    except (ArithmeticError, ValueError):
        ends = [math.inf]
    if not all(math.isfinite(end) for end in ends):
        raise ValueError("its values are larger than any number")
    step = distribution.q or 1.0
    if kind in ("int_uniform", "q_uniform") and (high - low) / step > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")


def _weighted(entry: Mapping[str, Any]) -> Weighted:
    """Values with probabilities."""
    keys = set(entry) - {"distribution"}
    kind = entry.get("distribution", "categorical_w_probabilities")
    if keys != {"values", "probabilities"} or kind != "categorical_w_probabilities":
        raise ValueError(
            "probabilities belong to values and the distribution categorical_w_probabilities"
        )

    # As many probabilities as values
    values, shares = entry["values"], entry["probabilities"]
    if not isinstance(values, list) or not isinstance(shares, list) or len(values) != len(shares):
        raise ValueError("values and probabilities are not lists of one length")

    # Shares of 1
    probabilities = tuple(number(share) for share in shares)
    is_negative = min(probabilities, default=-1) < 0
    if is_negative or not math.isclose(sum(probabilities), 1.0, rel_tol=1e-5):
        raise ValueError("the probabilities are not shares of 1")
    return Weighted(tuple(values), probabilities)


def of_grid(choice: Choice) -> Choice:
    """The values a grid tries, where there are some."""
    if isinstance(choice, Distribution):
        return choice.steps() or choice
    return choice


def number(value: Any) -> float:
    """A finite number, also from text: PyYAML reads 1e-4 as text.

    Raises:
        ValueError: It is none.

    Examples:
        >>> number("1e-4")
        0.0001
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a finite number")
    try:
        converted = float(value)
    except (TypeError, ValueError, OverflowError):
        converted = math.nan
    if not math.isfinite(converted):
        raise ValueError(f"{quoted(value)} is not a finite number")
    return converted


def _whole(value: float) -> bool:
    return value == int(value)
