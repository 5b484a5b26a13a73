"""The form of a Weights & Biases sweep file: parameters with a value, several values, or a range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from forgetmi.errors import Fault, SpecError
from forgetmi.seeding import numpy_generator

_KEYS = ("program", "method", "parameters", "command", "name", "description", "metric", "project", "entity")
_DISTRIBUTIONS = ("uniform", "int_uniform", "log_uniform_values")


def combinations(path: Path, known: tuple[str, ...], *, draws: int, seed: int) -> list[dict[str, Any]]:
    """Every run a sweep file asks for, as parameter names to values.

    Args:
        path: The file: ``parameters: KEY: value: V``, ``values: [...]``, or a distribution with min and max.
        known: Names a parameter may have.
        draws: Number of runs to draw, every parameter anew (method ``random``); 0 = the grid of all values, the last
            parameter of the file varying fastest.
        seed: Root seed of the draws.

    Raises:
        SpecError: The file cannot be read or a parameter is unknown or not understood; all faults at once.
    """
    faults: list[Fault] = []
    choices: dict[str, list[Any] | _Distribution] = {}
    for key, given in _parameters(path).items():
        if key not in known:
            faults.append(_unknown(f"parameter {key!r}", key, known, path.name))
            continue
        try:
            choices[key] = _choices(given)
        except (TypeError, ValueError) as error:
            faults.append(Fault(f"parameter {key!r} is not understood", where=path.name, why=str(error),
                                do="Give value, values, or distribution with min and max."))
    faults += [Fault(f"parameter {key!r} has a distribution", where=path.name, do="Ask for a number of draws.")
               for key, choice in choices.items() if isinstance(choice, _Distribution) and draws == 0]
    if faults:
        raise SpecError(faults)
    return _all(choices) if draws == 0 else _some(choices, draws, seed)


def number(value: Any) -> float:
    """A finite number, also from text: PyYAML reads 1e-4 as text.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not math.isfinite(found := float(value)):
        raise ValueError(f"{value!r} is not a finite number")
    return found


def _parameters(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(Fault("the configuration cannot be read", where=path.name, why=type(error).__name__)) from error
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise SpecError(Fault("it has no mapping 'parameters'", where=path.name, do="Use the form of the release."))
    faults = [_unknown(f"key {key!r}", key, _KEYS, path.name) for key in content if key not in _KEYS]
    if faults:
        raise SpecError(faults)
    return content["parameters"]


def _unknown(what: str, key: Any, known: tuple[str, ...], where: str) -> Fault:
    near = get_close_matches(str(key), known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return Fault(f"unknown {what}", where=where, do=f"{hint}Known: {', '.join(sorted(known))}.")


@dataclass(frozen=True)
class _Distribution:
    """A range to draw from."""

    kind: str
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float | int:
        """One value."""
        if self.kind == "int_uniform":
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.kind == "log_uniform_values":
            return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        return float(rng.uniform(self.low, self.high))


def _choices(given: Any) -> list[Any] | _Distribution:
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
            return values
    if not {"min", "max"} <= set(given) <= {"min", "max", "distribution"}:
        raise ValueError(f"it has the keys {', '.join(map(str, given))}")
    low, high = number(given["min"]), number(given["max"])
    whole = isinstance(given["min"], int) and isinstance(given["max"], int)
    kind = kind or ("int_uniform" if whole else "uniform")
    if kind not in _DISTRIBUTIONS:
        raise ValueError(f"the distribution {kind!r} is none of {', '.join(_DISTRIBUTIONS)}")
    if not low <= high or (kind == "log_uniform_values" and low <= 0):
        raise ValueError(f"the range {low} to {high} is empty or not allowed")
    return _Distribution(kind, low, high)


def _all(choices: Mapping[str, list[Any] | _Distribution]) -> list[dict[str, Any]]:
    lists = [choice for choice in choices.values() if isinstance(choice, list)]
    return [dict(zip(choices, values, strict=True)) for values in product(*lists)]


def _some(choices: Mapping[str, list[Any] | _Distribution], draws: int, seed: int) -> list[dict[str, Any]]:
    def one(key: str, run: int) -> Any:
        choice, rng = choices[key], numpy_generator(seed, "release", "sweep", key, run)
        return choice.draw(rng) if isinstance(choice, _Distribution) else choice[int(rng.integers(len(choice)))]

    return [{key: one(key, run) for key in choices} for run in range(draws)]
