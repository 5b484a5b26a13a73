"""Frozen dataclasses from plain values, strictly: a stored specification is complete or it is refused."""

from __future__ import annotations

import dataclasses
import typing
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from forgetmi.errors import Fault, SpecError

T = TypeVar("T")


def from_plain(cls: type[T], values: Any, *, where: str) -> T:
    """A dataclass from what ``dataclasses.asdict`` gave, after a way through JSON.

    Args:
        cls: The dataclass; its fields are dataclasses, numbers, text, booleans, literals, or tuples of one type.
        values: Mapping of every field name to its value.
        where: Name of the source, for messages.

    Raises:
        SpecError: Fields are missing, unknown or of another type; all faults at once.
    """
    faults: list[Fault] = []
    built = _build(cls, values, where, faults)
    if faults:
        raise SpecError(faults)
    return built


def _build(cls: Any, values: Any, where: str, faults: list[Fault]) -> Any:
    if not isinstance(values, dict):
        faults.append(Fault("not a mapping of fields", where=where, why=f"got {type(values).__name__}"))
        return None
    kinds = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            near = get_close_matches(str(name), names, n=1)
            faults.append(Fault(f"unknown field {name!r}", where=where,
                                do=f"Did you mean {near[0]!r}?" if near else ""))
    faults += [Fault(f"field {name!r} is missing", where=where) for name in names if name not in values]
    before = len(faults)
    arguments = {name: _convert(kinds[name], values[name], f"{where}.{name}", faults)
                 for name in names if name in values}
    if len(faults) > before or len(arguments) < len(names):
        return None
    try:
        return cls(**arguments)
    except SpecError as error:
        faults += error.faults
        return None


def _convert(kind: Any, value: Any, where: str, faults: list[Fault]) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where, faults)
    if typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        item = typing.get_args(kind)[0]
        return tuple(_convert(item, one, f"{where}[{i}]", faults) for i, one in enumerate(value))
    if typing.get_origin(kind) is Literal and value in typing.get_args(kind):
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    faults.append(Fault("a value of another type", where=where, why=f"got {value!r}"))
    return None
