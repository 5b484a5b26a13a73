"""The form of a Weights & Biases sweep file: parameters with a value, several values, or a distribution."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.plain_text import key_named
from forgetmi.core.printable import MOST_VALUE, quoted
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.suggest import did_you_mean
from forgetmi.core.yaml_text import read_yaml_values
from forgetmi.search.early_stop import EarlyStop, read_early_stop
from forgetmi.search.sweep_values import MOST_VALUES, Choice, of_grid, read_choice

# What Weights & Biases knows; keys that mean nothing here are ignored
KEYS = (
    "program",
    "method",
    "parameters",
    "command",
    "name",
    "description",
    "metric",
    "project",
    "entity",
    "early_terminate",
    "run_cap",
    "controller",
    "apiVersion",
    "kind",
    "job",
    "image_uri",
)
METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")


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

    # Method
    method = content.get("method", "random")
    if method not in METHODS:
        faults.append(
            Fault(
                f"the method is {quoted(method)}",
                where=path.name,
                do=f"One of: {', '.join(METHODS)}.",
            )
        )
    if method == "grid":
        choices = {key: of_grid(choice) for key, choice in choices.items()}
        faults += _too_many(choices, path.name)
        faults += _without_values(
            choices,
            "is drawn from a distribution",
            where=path.name,
            do="A grid needs value, values, whole min and max, or q_uniform.",
        )

    # Metric
    metric = content.get("metric") or {}
    if not isinstance(metric, dict) or metric.get("goal", "minimize") not in GOALS:
        faults.append(
            Fault("the metric is not understood", where=path.name, do="Give name and goal.")
        )
        metric = {}

    # Early stopping
    early = None
    if content.get("early_terminate") is not None:
        try:
            early = read_early_stop(content["early_terminate"])
        except ValueError as error:
            faults.append(
                Fault(
                    "early_terminate is not understood",
                    where=path.name,
                    why=str(error),
                    do="Give type: hyperband, eta (whole, 2 or more), and min_iter or max_iter and s "
                    "(whole, 1 or more).",
                )
            )

    # Number of runs
    most = content.get("run_cap")
    if most is not None and (type(most) is not int or most < 1):
        faults.append(
            Fault(f"run_cap is {quoted(most)}", where=path.name, do="Give a whole number of runs.")
        )

    if faults:
        raise SpecError(faults)
    return Sweep(
        method=method,
        parameters=choices,
        metric=str(metric.get("name", "")),
        maximise=metric.get("goal") == "maximize",
        early=early,
        most=most,
    )


def _too_many(choices: Mapping[str, Choice], where: str) -> list[Fault]:
    """A fault where a grid has more combinations than anybody runs, or than the memory holds."""
    combined = math.prod(len(choice) for choice in choices.values() if isinstance(choice, tuple))
    if combined <= MOST_VALUES:
        return []

    why = f"at most {MOST_VALUES:,} are tried"
    do = "Give fewer values, or the method random."
    return [Fault("the grid has too many combinations", where=where, why=why, do=do)]


def _without_values(
    choices: Mapping[str, Choice], what: str, *, where: str, do: str
) -> list[Fault]:
    """A fault for every parameter that has a distribution in place of values."""
    faults = []
    for key, choice in choices.items():
        if not isinstance(choice, tuple):
            faults.append(Fault(f"parameter {quoted(key)} {what}", where=where, do=do))
    return faults


def combinations(
    path: Path, known: tuple[str, ...], *, draws: int, seed: int
) -> list[dict[str, Any]]:
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

    # Unknown names are refused, the others are read.
    faults = []
    known_parameters = {}
    for key, entry in parameters.items():
        if key in known:
            known_parameters[key] = entry
        else:
            faults.append(_unknown(f"parameter {quoted(key)}", key, known, path.name))

    choices, not_understood = _all_choices(known_parameters, path.name)
    faults += not_understood
    if draws == 0:
        faults += _too_many(choices, path.name)
        faults += _without_values(
            choices, "has a distribution", where=path.name, do="Ask for a number of draws."
        )
    if faults:
        raise SpecError(faults)

    if draws == 0:
        return grid(choices)

    # Or random runs, each by its own seed
    return [_draw(choices, seed, run) for run in range(draws)]


def grid(choices: Mapping[str, Choice]) -> list[dict[str, Any]]:
    """Every combination of values, the last parameter varying fastest.

    Examples:
        >>> grid({"lr": (0.1, 0.2), "epochs": (1, 2)})[:2]
        [{'lr': 0.1, 'epochs': 1}, {'lr': 0.1, 'epochs': 2}]
    """
    # Parameters without values have no place in a grid
    lists = [choice for choice in choices.values() if isinstance(choice, tuple)]
    return [dict(zip(choices, values, strict=True)) for values in product(*lists)]


def _content(path: Path) -> dict[str, Any]:
    """The file, with its parameters under flat names."""
    content = read_yaml_values(
        path, what="the configuration", do="Give a sweep file in YAML, every key once."
    )

    # The form, then every key
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise SpecError(
            Fault(
                "it has no mapping 'parameters'",
                where=path.name,
                do="Give each parameter's name, with value, values, or min and max.",
            )
        )

    faults = []
    for key in content:
        if key not in KEYS:
            faults.append(_unknown(key_named(key), key, KEYS, path.name))

    # Nested parameters under names with dots
    flat = list(_flat(content["parameters"]))
    times = Counter(name for name, _ in flat)
    for name, count in times.items():
        if count > 1:
            faults.append(
                Fault(
                    f"parameter {quoted(name)} is given twice",
                    where=path.name,
                    do="Give it nested or with dots.",
                )
            )
    if faults:
        raise SpecError(faults)
    return {**content, "parameters": dict(flat)}


def _flat(parameters: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Parameters inside parameters under one name with dots."""
    for key, entry in parameters.items():
        inner = None
        if isinstance(entry, dict) and len(entry) == 1:
            inner = entry.get("parameters")

        if isinstance(inner, dict) and inner:
            yield from _flat(inner, f"{before}{key}.")
        else:
            yield f"{before}{key}", entry


def _unknown(what: str, key: Any, known: tuple[str, ...], where: str) -> Fault:
    """A fault that names the nearest known word."""
    # A misspelt word is more likely than a new one
    advice = did_you_mean(str(key)[:MOST_VALUE], known, then=f"Known: {', '.join(sorted(known))}.")
    return Fault(f"unknown {what}", where=where, do=advice)


def _all_choices(
    parameters: Mapping[str, Any], where: str
) -> tuple[dict[str, Choice], list[Fault]]:
    """What each parameter may be, and a fault for each that is not understood."""
    # Every fault is collected, so that all are shown at once
    choices: dict[str, Choice] = {}
    faults = []
    for key, entry in parameters.items():
        try:
            choices[key] = read_choice(entry)
        except (TypeError, ValueError) as error:
            faults.append(
                Fault(
                    f"parameter {quoted(key)} is not understood",
                    where=where,
                    why=str(error),
                    do="Give value, values, or distribution with min and max.",
                )
            )
    return choices, faults


def _draw(choices: Mapping[str, Choice], seed: int, run: int) -> dict[str, Any]:
    """One combination at random; a parameter's draws do not depend on the other parameters."""
    values = {}
    for key, choice in choices.items():
        rng = numpy_generator(seed, "sweep", key, run)
        if isinstance(choice, tuple):
            values[key] = choice[int(rng.integers(len(choice)))]
        else:
            values[key] = choice.at(rng.uniform())
    return values
