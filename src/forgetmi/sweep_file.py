"""The form of a Weights & Biases sweep file: parameters with a value, several values, or a distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from scipy.stats import norm

from forgetmi.errors import Fault, SpecError
from forgetmi.seeding import numpy_generator

KEYS = ("program", "method", "parameters", "command", "name", "description", "metric", "project", "entity",
        "early_terminate", "run_cap")
METHODS = ("grid", "random", "bayes")
# Distribution: what it is described by. Ends of the value or of its logarithm, or mean and deviation; q rounds.
_RANGE, _NORMAL = frozenset({"min", "max"}), frozenset({"mu", "sigma"})
DISTRIBUTIONS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("uniform", "int_uniform", "log_uniform", "log_uniform_values", "inv_log_uniform",
                     "inv_log_uniform_values"), _RANGE),
    **dict.fromkeys(("q_uniform", "q_log_uniform", "q_log_uniform_values"), _RANGE | {"q"}),
    **dict.fromkeys(("normal", "log_normal"), _NORMAL), **dict.fromkeys(("q_normal", "q_log_normal"), _NORMAL | {"q"}),
}


@dataclass(frozen=True)
class Distribution:
    """What a parameter is drawn from.

    Args:
        kind: One of `DISTRIBUTIONS`.
        low, high: Ends, of the value, or of its natural logarithm for ``log_uniform`` and ``inv_log_uniform``.
        mu, sigma: Of the value, or of its logarithm for ``log_normal``.
        q: The value is rounded to a multiple of it; 0 = not rounded.
    """

    kind: str
    low: float = 0.0
    high: float = 1.0
    mu: float = 0.0
    sigma: float = 1.0
    q: float = 0.0

    def at(self, share: float) -> float | int:
        """The value below which ``share`` (0 to 1) of all draws lie; of the inverse distributions, above which."""
        kind = self.kind.removeprefix("q_")
        if kind == "int_uniform":
            return min(int(self.low + share * (self.high - self.low + 1)), int(self.high))
        if kind in ("normal", "log_normal"):
            value = self.mu + self.sigma * float(norm.ppf(min(max(share, 1e-9), 1 - 1e-9)))
            return self._rounded(math.exp(value) if kind == "log_normal" else value)
        low, high = (math.log(self.low), math.log(self.high)) if kind.endswith("_values") else (self.low, self.high)
        value = low + share * (high - low)
        if kind == "inv_log_uniform":
            return self._rounded(math.exp(-value))
        return self._rounded(value if kind == "uniform" else math.exp(value))

    def _rounded(self, value: float) -> float:
        return round(value / self.q) * self.q if self.q else value


Choice = tuple[Any, ...] | Distribution  # the values a parameter may have, or what it is drawn from


@dataclass(frozen=True)
class EarlyStop:
    """Hyperband: runs that do badly after a few epochs are given up.

    Args:
        least: Epochs before the first decision.
        factor: One run in so many goes on.
    """

    least: int
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
        faults += [Fault(f"parameter {key!r} has a distribution", where=path.name, do="A grid needs values.")
                   for key, choice in choices.items() if isinstance(choice, Distribution)]
    metric = content.get("metric") or {}
    early = content.get("early_terminate")
    most = content.get("run_cap")
    stop = None
    if not isinstance(metric, dict) or metric.get("goal", "minimize") not in ("minimize", "maximize"):
        faults.append(Fault("the metric is not understood", where=path.name, do="Give name and goal."))
        metric = {}
    if early is not None:
        try:
            stop = EarlyStop(int(early.get("min_iter", 1)), int(early.get("eta", 3)))
            if early.get("type") != "hyperband" or stop.least < 1 or stop.factor < 2:
                raise ValueError
        except (AttributeError, TypeError, ValueError):
            faults.append(Fault("early_terminate is not understood", where=path.name,
                                do="Give type: hyperband, min_iter (1 or more) and eta (2 or more)."))
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
               for key, choice in choices.items() if isinstance(choice, Distribution) and draws == 0]
    if faults:
        raise SpecError(faults)
    return grid(choices) if draws == 0 else [_draw(choices, seed, run) for run in range(draws)]


def grid(choices: Mapping[str, Choice]) -> list[dict[str, Any]]:
    """Every combination of values, the last parameter varying fastest."""
    lists = [choice for choice in choices.values() if not isinstance(choice, Distribution)]
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
    if faults:
        raise SpecError(faults)
    return content


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
                         values.get("sigma", 1.0), values.get("q", 1.0 if "q" in described else 0.0))
    if not found.low <= found.high or (kind.endswith("_values") and found.low <= 0):
        raise ValueError(f"the range {found.low} to {found.high} is empty or not allowed")
    if ("q" in described and found.q <= 0) or found.sigma <= 0:
        raise ValueError("q and sigma must be above 0")
    return found


def _draw(choices: Mapping[str, Choice], seed: int, run: int) -> dict[str, Any]:
    def one(key: str, choice: Choice) -> Any:
        rng = numpy_generator(seed, "sweep", key, run)
        return choice.at(rng.uniform()) if isinstance(choice, Distribution) else choice[int(rng.integers(len(choice)))]

    return {key: one(key, choice) for key, choice in choices.items()}
