"""The form of a Weights & Biases sweep file: parameters with a value, several values, or a distribution."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import yaml
from scipy.stats import beta, norm

from forgetmi.errors import Fault, SpecError
from forgetmi.seeding import numpy_generator

KEYS = ("program", "method", "parameters", "command", "name", "description", "metric", "project", "entity",
        "early_terminate", "run_cap", "controller", "apiVersion", "kind", "job", "image_uri")
METHODS = ("grid", "random", "bayes")
LONGEST = 10**6  # epochs; where bands of early stopping without an end are cut off
# Distribution: what it is described by. Ends of the value or of its logarithm, mean and deviation, or shape; q rounds.
_RANGE, _NORMAL, _BETA = frozenset({"min", "max"}), frozenset({"mu", "sigma"}), frozenset({"a", "b"})
DISTRIBUTIONS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("uniform", "int_uniform", "log_uniform", "log_uniform_values", "inv_log_uniform",
                     "inv_log_uniform_values"), _RANGE),
    **dict.fromkeys(("q_uniform", "q_log_uniform", "q_log_uniform_values"), _RANGE | {"q"}),
    **dict.fromkeys(("normal", "log_normal"), _NORMAL), **dict.fromkeys(("q_normal", "q_log_normal"), _NORMAL | {"q"}),
    "beta": _BETA, "q_beta": _BETA | {"q"},
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
        low, high = (math.log(self.low), math.log(self.high)) if kind.endswith("_values") else (self.low, self.high)
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
        found = [self.low + step * self.q for step in range(max(1, math.ceil((self.high - self.low) / self.q)))]
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


Choice = tuple[Any, ...] | Distribution | Weighted  # the values a parameter may have, or what it is drawn from


@dataclass(frozen=True)
class EarlyStop:
    """Hyperband: runs that do badly after a few epochs are given up.

    Args:
        bands: Numbers of epochs after which it is decided, rising.
        factor: One run in so many goes on.
    """

    bands: tuple[int, ...]
    factor: int


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Args:
        method: grid, random or bayes.
        parameters: Name to its choice.
        metric: Name of the score; empty = none given.
        maximise: Whether more is better.
        early: When runs are given up; None = never.
        most: Largest number of runs; None = none given.
    """

    method: str
    parameters: dict[str, Choice]
    metric: str = ""
    maximise: bool = False
    early: EarlyStop | None = None
    most: int | None = None


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file as it is.

    Raises:
        SpecError: It cannot be read, or something in it is not understood; all faults at once.
    """
    content = _content(path)
    choices, faults = _all_choices(content["parameters"], path.name)
    if not choices and not faults:
        faults.append(Fault("'parameters' is empty", where=path.name, do="Name at least one."))
    method = content.get("method", "random")
    if method not in METHODS:
        faults.append(Fault(f"the method is {method!r}", where=path.name, do=f"One of: {', '.join(METHODS)}."))
    if method == "grid":
        choices = {key: _of_grid(choice) for key, choice in choices.items()}
        faults += [Fault(f"parameter {key!r} is drawn from a distribution", where=path.name,
                         do="A grid needs value, values, whole min and max, or q_uniform.")
                   for key, choice in choices.items() if not isinstance(choice, tuple)]
    metric = content.get("metric") or {}
    early = content.get("early_terminate")
    most = content.get("run_cap")
    stop = None
    if not isinstance(metric, dict) or metric.get("goal", "minimize") not in ("minimize", "maximize"):
        faults.append(Fault("the metric is not understood", where=path.name, do="Give name and goal."))
        metric = {}
    if early is not None:
        try:
            stop = _early(early)
        except ValueError as error:
            faults.append(Fault("early_terminate is not understood", where=path.name, why=str(error), do=(
                "Give type: hyperband, eta (whole, 2 or more), and min_iter or max_iter and s (whole, 1 or more).")))
    if most is not None and (type(most) is not int or most < 1):
        faults.append(Fault(f"run_cap is {most!r}", where=path.name, do="Give a whole number of runs."))
    if faults:
        raise SpecError(faults)
    return Sweep(method, choices, str(metric.get("name", "")), metric.get("goal") == "maximize", stop, most)


def combinations(path: Path, known: tuple[str, ...], *, draws: int, seed: int) -> list[dict[str, Any]]:
    """Every run a sweep file asks for, as parameter names to values.

    Args:
        path: The file: ``parameters: KEY: value: V``, ``values: [...]``, or a distribution.
        known: Names a parameter may have.
        draws: Number of runs to draw, every parameter anew (method ``random``); 0 = the grid of all values, the last
            parameter of the file varying fastest.
        seed: Root seed of the draws.

    Raises:
        SpecError: The file cannot be read or a parameter is unknown or not understood; all faults at once.
    """
    parameters = _content(path)["parameters"]
    faults = [_unknown(f"parameter {key!r}", key, known, path.name) for key in parameters if key not in known]
    choices, strange = _all_choices({key: given for key, given in parameters.items() if key in known}, path.name)
    faults += strange
    faults += [Fault(f"parameter {key!r} has a distribution", where=path.name, do="Ask for a number of draws.")
               for key, choice in choices.items() if not isinstance(choice, tuple) and draws == 0]
    if faults:
        raise SpecError(faults)
    return grid(choices) if draws == 0 else [_draw(choices, seed, run) for run in range(draws)]


def grid(choices: Mapping[str, Choice]) -> list[dict[str, Any]]:
    """Every combination of values, the last parameter varying fastest."""
    lists = [choice for choice in choices.values() if isinstance(choice, tuple)]
    return [dict(zip(choices, values, strict=True)) for values in product(*lists)]


def number(value: Any) -> float:
    """A finite number, also from text: PyYAML reads 1e-4 as text.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not math.isfinite(found := float(value)):
        raise ValueError(f"{value!r} is not a finite number")
    return found


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(Fault("the configuration cannot be read", where=path.name, why=type(error).__name__)) from error
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise SpecError(Fault("it has no mapping 'parameters'", where=path.name,
                              do="Give each parameter's name, with value, values, or min and max."))
    faults = [_unknown(f"key {key!r}", key, KEYS, path.name) for key in content if key not in KEYS]
    flat = list(_flat(content["parameters"]))
    names = [name for name, _ in flat]
    faults += [Fault(f"parameter {name!r} is given twice", where=path.name, do="Give it nested or with dots.")
               for name in dict.fromkeys(names) if names.count(name) > 1]
    if faults:
        raise SpecError(faults)
    return {**content, "parameters": dict(flat)}


def _flat(parameters: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Parameters inside parameters under one name with dots."""
    for key, given in parameters.items():
        inner = given.get("parameters") if isinstance(given, dict) and len(given) == 1 else None
        if isinstance(inner, dict) and inner:
            yield from _flat(inner, f"{before}{key}.")
        else:
            yield f"{before}{key}", given


def _unknown(what: str, key: Any, known: tuple[str, ...], where: str) -> Fault:
    near = get_close_matches(str(key), known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return Fault(f"unknown {what}", where=where, do=f"{hint}Known: {', '.join(sorted(known))}.")


def _all_choices(parameters: Mapping[str, Any], where: str) -> tuple[dict[str, Choice], list[Fault]]:
    choices: dict[str, Choice] = {}
    faults = []
    for key, given in parameters.items():
        try:
            choices[key] = _choice(given)
        except (TypeError, ValueError) as error:
            faults.append(Fault(f"parameter {key!r} is not understood", where=where, why=str(error),
                                do="Give value, values, or distribution with min and max."))
    return choices, faults


def _choice(given: Any) -> Choice:
    """What one parameter may be."""
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
        raise ValueError(f"it has the keys {', '.join(map(str, given))}; {kind} knows {', '.join(sorted(described))}")
    values = {key: number(given[key]) for key in keys}
    found = Distribution(kind, values.get("min", 0.0), values.get("max", 1.0), values.get("mu", 0.0),
                         values.get("sigma", 1.0), values.get("q", 1.0 if "q" in described else 0.0),
                         values.get("a", 1.0), values.get("b", 1.0))
    if not found.low <= found.high or (kind.endswith("_values") and found.low <= 0):
        raise ValueError(f"the range {found.low} to {found.high} is empty or not allowed")
    if kind == "int_uniform" and not (_whole(found.low) and _whole(found.high)):
        raise ValueError("min and max of int_uniform must be whole numbers")
    if ("q" in described and found.q <= 0) or min(found.sigma, found.a, found.b) <= 0:
        raise ValueError("q, sigma, a and b must be above 0")
    return found


def _weighted(given: Mapping[str, Any]) -> Weighted:
    """Values with probabilities."""
    if set(given) - {"distribution"} != {"values", "probabilities"} or given.get(
            "distribution", "categorical_w_probabilities") != "categorical_w_probabilities":
        raise ValueError("probabilities belong to values and the distribution categorical_w_probabilities")
    values, shares = given["values"], given["probabilities"]
    if not isinstance(values, list) or not isinstance(shares, list) or len(values) != len(shares):
        raise ValueError("values and probabilities are not lists of one length")
    found = tuple(number(share) for share in shares)
    if min(found, default=-1) < 0 or not math.isclose(sum(found), 1.0, rel_tol=1e-5):
        raise ValueError("the probabilities are not shares of 1")
    return Weighted(tuple(values), found)


def _of_grid(choice: Choice) -> Choice:
    """The values a grid tries, where there are some."""
    return choice.steps() or choice if isinstance(choice, Distribution) else choice


def _early(given: Any) -> EarlyStop:
    """When runs are given up.

    Raises:
        ValueError: It is not understood, with the reason.

    Source: hyperband_stop_runs in wandb/sweeps: bands min_iter x eta^i, or max_iter / eta^i for i = 1 to s, rounded
        down; max_iter wins where both are given.
    """
    known = ("type", "min_iter", "max_iter", "s", "eta", "strict")
    if not isinstance(given, dict) or given.get("type") != "hyperband":
        raise ValueError("the type is not hyperband")
    if unknown := [str(key) for key in given if key not in known]:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    if given.get("strict", True) is not True:
        raise ValueError("strict: false is not supported, since a trial's last score counts here, not its best")
    counts = {"eta": 3, **{key: given[key] for key in ("min_iter", "max_iter", "s", "eta") if key in given}}
    if wrong := [key for key, count in counts.items() if type(count) is not int or count < (2 if key == "eta" else 1)]:
        raise ValueError(f"{', '.join(f'{key} is {counts[key]!r}' for key in wrong)}")
    eta = counts["eta"]
    if "max_iter" in counts:
        if "s" not in counts:
            raise ValueError("max_iter needs s")
        bands, band = [], counts["max_iter"]
        while (band := band // eta) >= 1 and len(bands) < counts["s"]:
            bands.insert(0, band)
    elif "min_iter" in counts:
        bands = [counts["min_iter"]]
        while bands[-1] * eta <= LONGEST:
            bands.append(bands[-1] * eta)
    else:
        raise ValueError("there is neither min_iter nor max_iter")
    if not bands:
        raise ValueError("max_iter is below eta, so that there is no band")
    return EarlyStop(tuple(bands), eta)


def _whole(value: float) -> bool:
    return value == int(value)


def _draw(choices: Mapping[str, Choice], seed: int, run: int) -> dict[str, Any]:
    def one(key: str, choice: Choice) -> Any:
        rng = numpy_generator(seed, "sweep", key, run)
        return choice[int(rng.integers(len(choice)))] if isinstance(choice, tuple) else choice.at(rng.uniform())

    return {key: one(key, choice) for key, choice in choices.items()}
