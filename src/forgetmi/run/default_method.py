"""The unlearning method of every command that is told none; which one that is, is changed here alone."""

from __future__ import annotations

from typing import Any

from forgetmi.core.registry import methods
from forgetmi.methods.forget_mi import ForgetMI

# Of run, withdraw, requests process and everything else that reads a specification of a run
DefaultMethod = ForgetMI

# Of the demo, by name: the method that the package is named after, and the one that is shown beside it
DEMO, BESIDE = "forget_mi", "undo"


def named(name: str) -> Any:
    """A method with its defaults.

    Args:
        name: As it is registered.
    """
    return methods.get(name)()
