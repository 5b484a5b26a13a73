"""Names of a run's models: "original", "unlearned" and "retrain-0", "retrain-1" and so on."""

from __future__ import annotations

import re
from collections.abc import Iterable

ORIGINAL = "original"
UNLEARNED = "unlearned"
# Followed by the number of the retrained model, from 0.
RETRAINED_PREFIX = "retrain-"

# The method whose result is an exact retraining in fewer epochs: the yardstick of costs.
SHORT_RETRAIN = "short_retrain"

# The whole name, so that a method called "retrain" is none of them.
_RETRAINED = re.compile(rf"{RETRAINED_PREFIX}\d+")


def retrained_name(number: int) -> str:
    """The name of a retrained model, e.g. "retrain-0".

    Args:
        number: Number of the retrained model, from 0.
    """
    return f"{RETRAINED_PREFIX}{number}"


def is_retrained(name: str) -> bool:
    """Whether a model of that name is a retrained one."""
    return _RETRAINED.fullmatch(name) is not None


def retrained_number(name: str) -> int:
    """The number of a retrained model, from 0.

    Raises:
        ValueError: It is the name of another model.
    """
    if not is_retrained(name):
        raise ValueError(f"{name!r} is not the name of a retrained model")
    return int(name.removeprefix(RETRAINED_PREFIX))


def retrained_names(names: Iterable[str]) -> list[str]:
    """Those of some names that are names of retrained models, in the order of their numbers."""
    return sorted(filter(is_retrained, names), key=retrained_number)
