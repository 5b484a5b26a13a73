"""Whether a method learns from a standing pool: only a run and a withdrawal give it one."""

from __future__ import annotations

from typing import Any

from forgetmi.core.errors import Fault


def learns_from_pool(method: Any) -> bool:
    """Whether a method with its options asks for what models of a standing pool say.

    Args:
        method: One that may read a pool says so in its option ``target``: average = it does not.
    """
    return "pool" in method.info.reads and getattr(method, "target", "average") != "average"


def no_pool_faults(method: Any) -> list[Fault]:
    """A fault where a method learns from a pool and the command has none to give; due before anything is made."""
    if not learns_from_pool(method):
        return []
    return [
        Fault(
            f"{method.info.title} learns from a standing pool here, and this command gives a method none",
            where="--method.target",
            do="Choose average, or use forgetmi run or withdraw with --targets.",
        )
    ]
