"""Early stopping of a sweep, as its file describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forgetmi.core.printable import quoted

KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
NUMBERS = ("min_iter", "max_iter", "s", "eta")
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


def read_early_stop(entry: Any) -> EarlyStop:
    """When runs are given up.

    Args:
        entry: ``early_terminate`` of a sweep file.

    Raises:
        ValueError: It is not understood, with the reason.

    Source: hyperband_stop_runs in wandb/sweeps: bands min_iter x eta^i, or max_iter / eta^i for i = 1 to s, rounded
        down; max_iter wins where both are given.

    Examples:
        >>> read_early_stop({"type": "hyperband", "max_iter": 27, "s": 2})
        EarlyStop(bands=(3, 9), factor=3)
    """
    if not isinstance(entry, dict) or entry.get("type") != "hyperband":
        raise ValueError("the type is not hyperband")

    unknown = [str(key) for key in entry if key not in KEYS]
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(KEYS)}")
    if entry.get("strict", True) is not True:
        raise ValueError(
            "strict: false is not supported, since a trial's last score counts here, not its best"
        )

    # max_iter counts down, min_iter counts up
    numbers = _numbers(entry)
    if "max_iter" in numbers:
        bands = _bands_down(numbers)
    elif "min_iter" in numbers:
        bands = _bands_up(numbers)
    else:
        raise ValueError("there is neither min_iter nor max_iter")
    return EarlyStop(bands, numbers["eta"])


def _numbers(entry: Mapping[str, Any]) -> dict[str, int]:
    """The whole numbers of an entry; eta is 3 where it is not given."""
    numbers: dict[str, Any] = {"eta": 3}
    for key in NUMBERS:
        if key in entry:
            numbers[key] = entry[key]

    # eta divides, so it is 2 or more
    wrong = []
    for key, number in numbers.items():
        least = 2 if key == "eta" else 1
        if type(number) is not int or number < least:
            wrong.append(f"{key} is {quoted(number)}")
    if wrong:
        raise ValueError(", ".join(wrong))
    return numbers


def _bands_down(numbers: Mapping[str, int]) -> tuple[int, ...]:
    """s bands down from max_iter, without those below one epoch."""
    if "s" not in numbers:
        raise ValueError("max_iter needs s")

    # From the largest band down
    bands: list[int] = []
    band = numbers["max_iter"] // numbers["eta"]
    while band >= 1 and len(bands) < numbers["s"]:
        bands.insert(0, band)
        band //= numbers["eta"]

    if not bands:
        raise ValueError("max_iter is below eta, so that there is no band")
    return tuple(bands)


def _bands_up(numbers: Mapping[str, int]) -> tuple[int, ...]:
    """Bands up from min_iter, as far as any run may go."""
    # Without an end: cut off where no run gets
    bands = [numbers["min_iter"]]
    while bands[-1] * numbers["eta"] <= LONGEST:
        bands.append(bands[-1] * numbers["eta"])
    return tuple(bands)
