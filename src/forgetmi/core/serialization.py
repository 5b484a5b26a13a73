"""Frozen dataclasses from plain values (YAML, JSON), strictly: every fault is named, and none is guessed away."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.registry import Registry

T = TypeVar("T")
LATER = {
    "later": True
}  # metadata of a field with a default that files written before there was such a field lack


def from_plain(
    cls: type[T],
    values: Any,
    *,
    where: str,
    complete: bool = False,
    choices: Mapping[str, Registry] | None = None,
) -> T:
    """A dataclass from plain values.

    Args:
        cls: The dataclass; its fields are dataclasses, numbers, text, booleans, paths, literals, options (``X | None``)
            tuples of these, or mappings of text to these.
        values: Mapping of field names to values.
        where: Name of the source, for messages.
        complete: Whether every field must be given (a stored file; save for fields marked `LATER`) or defaults may fill
            in (a person's file).
        choices: Top-level fields whose class is chosen by a registered name, given as ``{kind: NAME, ...}``.

    Raises:
        SpecError: Fields are missing, unknown (the nearest is named) or of another type; all faults at once.
    """
    reader = _Reader(where, complete, choices or {})
    built = reader.build(cls, values, "", top=True)
    if reader.faults:
        raise SpecError(reader.faults)
    return built


class _Reader:
    """Collects faults on the way through nested values."""

    def __init__(self, where: str, complete: bool, choices: Mapping[str, Registry]) -> None:
        self.where = where
        self.complete = complete
        self.choices = choices
        self.faults: list[Fault] = []

    def _fault(self, what: str, *, why: str = "", do: str = "") -> None:
        self.faults.append(Fault(what, where=self.where, why=why, do=do))

    def build(self, cls: Any, values: Any, path: str, *, top: bool = False) -> Any:
        """A dataclass; None when something was wrong."""
        if not isinstance(values, dict):
            self._fault(f"{path or 'the content'} must be a mapping of keys", why=f"got {values!r}")
            return None
        hints, fields = (
            typing.get_type_hints(cls),
            {f.name: f for f in dataclasses.fields(cls) if f.init},
        )
        before, arguments = len(self.faults), {}
        for key, value in values.items():
            here = f"{path}.{key}" if path else str(key)
            if key not in fields:
                near = get_close_matches(str(key), list(fields), n=1)
                hint = f"Did you mean {near[0]!r}? " if near else ""
                self._fault(f"unknown key {here!r}", do=f"{hint}Known here: {', '.join(fields)}.")
            elif top and key in self.choices:
                arguments[key] = self._choose(self.choices[key], value, here)
            else:
                arguments[key] = self.convert(hints[key], value, here)
        required = [
            name
            for name, f in fields.items()
            if (self.complete and not f.metadata.get("later"))
            or (f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
        ]
        for name in required:
            if name not in values:
                self._fault(f"key {f'{path}.{name}' if path else name!r} is missing")
        if len(self.faults) > before:
            return None
        try:
            return cls(**arguments)
        except SpecError as error:
            self.faults.extend(error.faults)
            return None

    def _choose(self, registry: Registry, value: Any, path: str) -> Any:
        if not isinstance(value, dict) or "kind" not in value:
            self._fault(f"{path} needs a key 'kind'", do=f"One of: {', '.join(registry.names())}.")
            return None
        try:
            cls = registry.get(str(value["kind"]))
        except SpecError as error:
            self.faults.extend(error.faults)
            return None
        return self.build(cls, {k: v for k, v in value.items() if k != "kind"}, path)

    def convert(self, kind: Any, value: Any, path: str) -> Any:
        """One value as the annotated type; a fault where it does not fit."""
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if kind is Any:
            return value
        if dataclasses.is_dataclass(kind):
            return self.build(kind, value, path)
        if origin in (typing.Union, types.UnionType):
            if value is None and type(None) in inner:
                return None
            return self.convert(
                next(option for option in inner if option is not type(None)), value, path
            )
        if origin is Literal and value in inner:
            return value
        if origin is tuple and isinstance(value, (list, tuple)):
            kinds = [inner[0]] * len(value) if inner[1:] == (Ellipsis,) else list(inner)
            if len(kinds) == len(value):
                return tuple(
                    self.convert(k, v, f"{path}[{i}]")
                    for i, (k, v) in enumerate(zip(kinds, value, strict=True))
                )
        if origin is Mapping and isinstance(value, dict):
            return {
                str(key): self.convert(inner[1], item, f"{path}.{key}")
                for key, item in value.items()
            }
        if kind is Path and isinstance(value, str):
            return Path(value)
        if kind is float and (number := _number(value)) is not None:
            return number
        if kind in (int, str, bool) and type(value) is kind:
            return value
        near = (
            get_close_matches(str(value), [str(option) for option in inner], n=1)
            if origin is Literal
            else []
        )
        self._fault(
            f"{path} does not fit",
            why=f"got {value!r}, expected {_words(kind)}",
            do=f"Did you mean {near[0]!r}?" if near else "",
        )
        return None


def _number(value: Any) -> float | None:
    """A number, also one that YAML 1.1 reads as text (1e-4)."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _words(kind: Any) -> str:
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    return getattr(kind, "__name__", str(kind))
