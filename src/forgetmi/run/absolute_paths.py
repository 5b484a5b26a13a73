"""Paths of a specification that mean the same from any working directory, and in any place a run is moved to."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def absolute(spec: T) -> T:
    """A specification whose relative paths, seen from the working directory, are absolute.

    Args:
        spec: A dataclass, e.g. a `RunSpec`; its fields may be dataclasses, and tuples of these.
    """
    return _with_paths(spec, lambda path: Path(os.path.abspath(path)))


def within(spec: T, root: Path) -> T:
    """A stored specification whose relative paths are the run's own, where there is such a file in the run.

    Args:
        spec: As stored.
        root: The run's directory.
    """

    def found(path: Path) -> Path:
        return root / path if (root / path).exists() else path

    return _with_paths(spec, found)


def _with_paths(value: Any, change: Callable[[Path], Path]) -> Any:
    """A value with every path in it changed."""
    if isinstance(value, Path):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_with_paths(item, change) for item in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value

    # Only what changes: a dataclass may have fields that cannot be given again
    changed = {}
    for field in dataclasses.fields(value):
        before = getattr(value, field.name)
        after = _with_paths(before, change)
        if after != before:
            changed[field.name] = after
    return dataclasses.replace(value, **changed) if changed else value
