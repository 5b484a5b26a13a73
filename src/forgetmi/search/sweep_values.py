"""What a parameter of a sweep may be: one value, several (with probabilities), or drawn from a distribution."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from scipy.stats import beta, norm

# Distribution: what it is described by. Ends of the value or of its logarithm, mean and deviation, or shape; q rounds.
_RANGE, _NORMAL, _BETA = (
    frozenset({"min", "max"}),
    frozenset({"mu", "sigma"}),
    frozenset({"a", "b"}),
)
DISTRIBUTIONS: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            "uniform",
            "int_uniform",
            "log_uniform",
            "log_uniform_values",
            "inv_log_uniform",
            "inv_log_uniform_values",
        ),
        _RANGE,
    ),
    **dict.fromkeys(("q_uniform", "q_log_uniform", "q_log_uniform_values"), _RANGE | {"q"}),
    **dict.fromkeys(("normal", "log_normal"), _NORMAL),
    **dict.fromkeys(("q_normal", "q_log_normal"), _NORMAL | {"q"}),
    "beta": _BETA,
    "q_beta": _BETA | {"q"},
}


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
        """The value below which ``share`` (0 to 1) of all draws lie; of the inverse distributions, above which."""
        kind = self.kind.removeprefix("q_")
        if kind == "int_uniform":
            return min(int(self.low + share * (self.high - self.low + 1)), int(self.high))
        if kind in ("normal", "log_normal"):
            value = self.mu + self.sigma * float(norm.ppf(min(max(share, 1e-9), 1 - 1e-9)))
            return self._rounded(math.exp(value) if kind == "log_normal" else value)
        if kind == "beta":
            return self._rounded(float(beta.ppf(share, self.a, self.b)))
        low, high = (
            (math.log(self.low), math.log(self.high))
            if kind.endswith("_values")
            else (self.low, self.high)
        )
        value = low + share * (high - low)
        if kind == "inv_log_uniform":
            return self._rounded(math.exp(-value))
        return self._rounded(value if kind == "uniform" else math.exp(value))

    def steps(self) -> tuple[float | int, ...] | None:
        """What a grid tries: every whole number, or every step of q below the upper end; None = there is no grid.

        Source: grid_search_next_runs in wandb/sweeps.
        """
        if self.kind == "int_uniform":
            return tuple(range(int(self.low), int(self.high) + 1))
        if self.kind != "q_uniform":
            return None
        found = [
            self.low + step * self.q
            for step in range(max(1, math.ceil((self.high - self.low) / self.q)))
        ]
        return tuple(int(one) if _whole(self.q) and _whole(self.low) else one for one in found)

    def _rounded(self, value: float) -> float | int:
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
        """The value below which ``share`` (0 to 1) of all draws lie, in the order of the values."""
        last = max(at for at, probability in enumerate(self.probabilities) if probability > 0)
        return self.values[min(bisect_right(list(accumulate(self.probabilities)), share), last)]


Choice = (
    tuple[Any, ...] | Distribution | Weighted
)  # the values a parameter may have, or what it is drawn from


def read_choice(given: Any) -> Choice:
    """What one parameter may be.

    Args:
        given: Its entry in the sweep file: value, values (with probabilities), or a distribution with what it needs.

    Raises:
        ValueError: It is not understood, with the reason.
    """
    if not isinstance(given, dict):
        raise ValueError(f"got {given!r}")
    kind = given.get("distribution")
    if "probabilities" in given or kind == "categorical_w_probabilities":
        return _weighted(given)
    allowed = {"value": {None, "constant"}, "values": {None, "categorical"}}
    for key, kinds in allowed.items():
        if key in given and kind in kinds and set(given) <= {key, "distribution"}:
            values = given[key] if key == "values" else [given[key]]
            if not isinstance(values, list) or not values:
                raise ValueError("values is not a list")
            return tuple(values)
    whole = isinstance(given.get("min"), int) and isinstance(given.get("max"), int)
    kind = kind or ("int_uniform" if whole else "uniform")
    if kind not in DISTRIBUTIONS:
        raise ValueError(f"the distribution {kind!r} is none of {', '.join(DISTRIBUTIONS)}")
    keys, described = set(given) - {"distribution"}, DISTRIBUTIONS[kind]
    if not described & _RANGE <= keys <= described:
        raise ValueError(
            f"it has the keys {', '.join(map(str, given))}; {kind} knows {', '.join(sorted(described))}"
        )
    values = {key: number(given[key]) for key in keys}
    found = Distribution(
        kind,
        values.get("min", 0.0),
        values.get("max", 1.0),
        values.get("mu", 0.0),
        values.get("sigma", 1.0),
        values.get("q", 1.0 if "q" in described else 0.0),
        values.get("a", 1.0),
        values.get("b", 1.0),
    )
    if not found.low <= found.high or (kind.endswith("_values") and found.low <= 0):
        raise ValueError(f"the range {found.low} to {found.high} is empty or not allowed")
    if kind == "int_uniform" and not (_whole(found.low) and _whole(found.high)):
        raise ValueError("min and max of int_uniform must be whole numbers")
    if ("q" in described and found.q <= 0) or min(found.sigma, found.a, found.b) <= 0:
        raise ValueError("q, sigma, a and b must be above 0")
    return found


def _weighted(given: Mapping[str, Any]) -> Weighted:
    """Values with probabilities."""
    if (
        set(given) - {"distribution"} != {"values", "probabilities"}
        or given.get("distribution", "categorical_w_probabilities") != "categorical_w_probabilities"
    ):
        raise ValueError(
            "probabilities belong to values and the distribution categorical_w_probabilities"
        )
    values, shares = given["values"], given["probabilities"]
    if not isinstance(values, list) or not isinstance(shares, list) or len(values) != len(shares):
        raise ValueError("values and probabilities are not lists of one length")
    found = tuple(number(share) for share in shares)
    if min(found, default=-1) < 0 or not math.isclose(sum(found), 1.0, rel_tol=1e-5):
        raise ValueError("the probabilities are not shares of 1")
    return Weighted(tuple(values), found)


def of_grid(choice: Choice) -> Choice:
    """The values a grid tries, where there are some."""
    return choice.steps() or choice if isinstance(choice, Distribution) else choice


def number(value: Any) -> float:
    """A finite number, also from text: PyYAML reads 1e-4 as text.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not math.isfinite(found := float(value)):
        raise ValueError(f"{value!r} is not a finite number")
    return found


def _whole(value: float) -> bool:
    return value == int(value)
