"""The form of a Weights & Biases sweep file: parameters with a value, several values, or a distribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.suggest import did_you_mean
from forgetmi.search.sweep_values import Choice, of_grid, read_choice

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
LONGEST = 10**6  # epochs; where bands of early stopping without an end are cut off


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
        faults.append(
            Fault(f"the method is {method!r}", where=path.name, do=f"One of: {', '.join(METHODS)}.")
        )
    if method == "grid":
        choices = {key: of_grid(choice) for key, choice in choices.items()}
        faults += [
            Fault(
                f"parameter {key!r} is drawn from a distribution",
                where=path.name,
                do="A grid needs value, values, whole min and max, or q_uniform.",
            )
            for key, choice in choices.items()
            if not isinstance(choice, tuple)
        ]
    metric = content.get("metric") or {}
    early = content.get("early_terminate")
    most = content.get("run_cap")
    stop = None
    if not isinstance(metric, dict) or metric.get("goal", "minimize") not in (
        "minimize",
        "maximize",
    ):
        faults.append(
            Fault("the metric is not understood", where=path.name, do="Give name and goal.")
        )
        metric = {}
    if early is not None:
        try:
            stop = _early(early)
        except ValueError as error:
            faults.append(
                Fault(
                    "early_terminate is not understood",
                    where=path.name,
                    why=str(error),
                    do=(
                        "Give type: hyperband, eta (whole, 2 or more), and min_iter or max_iter and s (whole, 1 or more)."
                    ),
                )
            )
    if most is not None and (type(most) is not int or most < 1):
        faults.append(
            Fault(f"run_cap is {most!r}", where=path.name, do="Give a whole number of runs.")
        )
    if faults:
        raise SpecError(faults)
    return Sweep(
        method, choices, str(metric.get("name", "")), metric.get("goal") == "maximize", stop, most
    )


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
    faults = [
        _unknown(f"parameter {key!r}", key, known, path.name)
        for key in parameters
        if key not in known
    ]
    choices, strange = _all_choices(
        {key: given for key, given in parameters.items() if key in known}, path.name
    )
    faults += strange
    faults += [
        Fault(
            f"parameter {key!r} has a distribution",
            where=path.name,
            do="Ask for a number of draws.",
        )
        for key, choice in choices.items()
        if not isinstance(choice, tuple) and draws == 0
    ]
    if faults:
        raise SpecError(faults)
    return grid(choices) if draws == 0 else [_draw(choices, seed, run) for run in range(draws)]


def grid(choices: Mapping[str, Choice]) -> list[dict[str, Any]]:
    """Every combination of values, the last parameter varying fastest."""
    lists = [choice for choice in choices.values() if isinstance(choice, tuple)]
    return [dict(zip(choices, values, strict=True)) for values in product(*lists)]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(
            Fault("the configuration cannot be read", where=path.name, why=type(error).__name__)
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise SpecError(
            Fault(
                "it has no mapping 'parameters'",
                where=path.name,
                do="Give each parameter's name, with value, values, or min and max.",
            )
        )
    faults = [_unknown(f"key {key!r}", key, KEYS, path.name) for key in content if key not in KEYS]
    flat = list(_flat(content["parameters"]))
    names = [name for name, _ in flat]
    faults += [
        Fault(
            f"parameter {name!r} is given twice", where=path.name, do="Give it nested or with dots."
        )
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
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
    advice = did_you_mean(str(key), known, then=f"Known: {', '.join(sorted(known))}.")
    return Fault(f"unknown {what}", where=where, do=advice)


def _all_choices(
    parameters: Mapping[str, Any], where: str
) -> tuple[dict[str, Choice], list[Fault]]:
    choices: dict[str, Choice] = {}
    faults = []
    for key, given in parameters.items():
        try:
            choices[key] = read_choice(given)
        except (TypeError, ValueError) as error:
            faults.append(
                Fault(
                    f"parameter {key!r} is not understood",
                    where=where,
                    why=str(error),
                    do="Give value, values, or distribution with min and max.",
                )
            )
    return choices, faults


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
        raise ValueError(
            "strict: false is not supported, since a trial's last score counts here, not its best"
        )
    counts = {
        "eta": 3,
        **{key: given[key] for key in ("min_iter", "max_iter", "s", "eta") if key in given},
    }
    if wrong := [
        key
        for key, count in counts.items()
        if type(count) is not int or count < (2 if key == "eta" else 1)
    ]:
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


def _draw(choices: Mapping[str, Choice], seed: int, run: int) -> dict[str, Any]:
    def one(key: str, choice: Choice) -> Any:
        rng = numpy_generator(seed, "sweep", key, run)
        return (
            choice[int(rng.integers(len(choice)))]
            if isinstance(choice, tuple)
            else choice.at(rng.uniform())
        )

    return {key: one(key, choice) for key, choice in choices.items()}
