"""Frozen dataclasses from plain values (YAML, JSON), strictly: every fault is named, and none is guessed away."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.former_options import present_values
from forgetmi.core.plain_text import LEAST_NUMBER, MOST_NUMBER, key_named
from forgetmi.core.printable import MOST_VALUE, quoted
from forgetmi.core.registry import Registry
from forgetmi.core.suggest import did_you_mean

T = TypeVar("T")

# Metadata of a field with a default that files written before there was such a field lack.
LATER = {"later": True}


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

    def build(self, cls: Any, values: Any, path: str, *, top: bool = False) -> Any:
        """A dataclass; None when something was wrong."""
        if not isinstance(values, dict):
            # Not quoted: it may be the content of another file, given by mistake.
            why = f"it is {_kind_of(values)}"
            self._fault(f"{path or 'the content'} must be a mapping of keys", why=why)
            return None

        hints = _type_hints(cls)
        fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
        faults_before = len(self.faults)

        # Files of the version before call one option otherwise.
        try:
            values = present_values(values, fields, where=self.where)
        except SpecError as error:
            self.faults.extend(error.faults)
            return None

        # Each given key.
        arguments = {}
        for key, value in values.items():
            key_path = _join(path, str(key))
            if key not in fields:
                known = f"Known here: {', '.join(fields)}."
                advice = did_you_mean(str(key)[:MOST_VALUE], fields, then=known)
                # A stored file is written by a program: what else it holds may be another file's content
                where = f"in {path}" if path else "at the top"
                shown = f"key {where} (not quoted)" if self.complete else key_named(key_path)
                self._fault(f"unknown {shown}", do=advice)
            elif top and key in self.choices:
                arguments[key] = self._choose(self.choices[key], value, key_path)
            else:
                arguments[key] = self.convert(hints[key], value, key_path)

        # Each key that had to be given.
        for name, field in fields.items():
            if self._required(field) and name not in values:
                self._fault(f"key {_join(path, name)!r} is missing")

        if len(self.faults) > faults_before:
            return None

        # The dataclass has rules of its own.
        try:
            return cls(**arguments)
        except ForgetMIError as error:
            self.faults.extend(error.faults)
            return None

    def convert(self, kind: Any, value: Any, path: str) -> Any:
        """One value as the annotated type; a fault where it does not fit."""
        if kind is Any:
            return value

        if dataclasses.is_dataclass(kind):
            return self.build(kind, value, path)

        # Values that consist of others.
        origin = typing.get_origin(kind)
        if origin in (typing.Union, types.UnionType):
            return self._convert_option(kind, value, path)
        if origin is tuple:
            return self._convert_tuple(kind, value, path)
        if origin is Mapping:
            return self._convert_mapping(kind, value, path)

        # Single values; a whole number is none of text, and True is no number.
        if origin is Literal and value in typing.get_args(kind):
            return value
        if kind is Path and isinstance(value, str) and value.isprintable():
            return Path(value)
        if kind is int and type(value) is int:
            return self._in_64_bits(value, path)
        if kind in (str, bool) and type(value) is kind:
            return value
        if kind is float:
            number = _number(value)
            if number is not None:
                return number

        return self._misfit(kind, value, path)

    def _convert_option(self, kind: Any, value: Any, path: str) -> Any:
        """A value of ``X | None``."""
        types_given = typing.get_args(kind)
        if value is None and type(None) in types_given:
            return None

        first = next(option for option in types_given if option is not type(None))
        return self.convert(first, value, path)

    def _convert_tuple(self, kind: Any, value: Any, path: str) -> Any:
        if not isinstance(value, (list, tuple)):
            return self._misfit(kind, value, path)

        # One type for all elements, or one for each.
        kinds = list(typing.get_args(kind))
        if kinds[1:] == [Ellipsis]:
            kinds = [kinds[0]] * len(value)
        if len(kinds) != len(value):
            return self._misfit(kind, value, path)

        elements = []
        for position, (element_kind, element) in enumerate(zip(kinds, value, strict=True)):
            elements.append(self.convert(element_kind, element, f"{path}[{position}]"))
        return tuple(elements)

    def _convert_mapping(self, kind: Any, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self._misfit(kind, value, path)

        # Keys are text in every format that is read.
        value_kind = typing.get_args(kind)[1]
        converted = {}
        for key, item in value.items():
            converted[str(key)] = self.convert(value_kind, item, _join(path, str(key)))
        return converted

    def _in_64_bits(self, value: int, path: str) -> int | None:
        """A whole number as every library holds it."""
        if LEAST_NUMBER <= value <= MOST_NUMBER:
            return value
        self._fault(f"{path} does not fit 64 bits", why=f"got {quoted(value)}")
        return None

    def _choose(self, registry: Registry, value: Any, path: str) -> Any:
        """A dataclass whose class is named by the key ``kind``."""
        if not isinstance(value, dict) or "kind" not in value:
            self._fault(f"{path} needs a key 'kind'", do=f"One of: {', '.join(registry.names())}.")
            return None

        try:
            cls = registry.get(str(value["kind"]))
        except SpecError as error:
            self.faults.extend(error.faults)
            return None

        # The other keys are options of the class that was named.
        options = {key: item for key, item in value.items() if key != "kind"}
        return self.build(cls, options, path)

    def _required(self, field: dataclasses.Field[Any]) -> bool:
        """Whether a field must be given."""
        if self.complete and not field.metadata.get("later"):
            return True
        return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING

    def _misfit(self, kind: Any, value: Any, path: str) -> None:
        advice = ""
        if typing.get_origin(kind) is Literal:
            advice = did_you_mean(str(value)[:MOST_VALUE], map(str, typing.get_args(kind)))
        expected = _type_name(kind)
        found = f"it is {_kind_of(value)}" if self.complete else f"got {quoted(value)}"
        self._fault(f"{path} does not fit", why=f"{found}, expected {expected}", do=advice)

    def _fault(self, problem: str, *, why: str = "", do: str = "") -> None:
        self.faults.append(Fault(problem, where=self.where, why=why, do=do))


@cache
def _type_hints(cls: type) -> dict[str, Any]:
    """The annotated types of a class; resolved once, since a record holds hundreds of values of one class."""
    return typing.get_type_hints(cls)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _kind_of(value: Any) -> str:
    """What a value is, in a word."""
    words = {
        str: "text",
        dict: "a mapping",
        list: "a list",
        tuple: "a list",
        bool: "true or false",
        type(None): "empty",
    }
    return words.get(type(value), "a number")


def _number(value: Any) -> float | None:
    """A finite number, also one that YAML 1.1 reads as text (1e-4)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(kind)))}"
    if kind is float:
        return "a finite number"
    return getattr(kind, "__name__", str(kind))
