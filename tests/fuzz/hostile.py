"""What the fuzz targets share: hostile values, changes of sound ones, and what an answer must be."""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st

from forgetmi.core.errors import ForgetMIError
from forgetmi.core.printable import printable
from forgetmi.core.registry import Registry

# Longest line of a message, characters
MOST = 9000

HUGE = st.sampled_from([2**63, -(2**63) - 1, 10**30, 10**400, 2**63 - 1, -1, 0])
WORDS = st.sampled_from(
    [
        *("", " ", "nan", "NaN", "inf", "-inf", "1e400", "null", "None", "true", "*a", "&a [*a]"),
        *(
            "!!python/object:os.system",
            "012",
            "1:30",
            "0x1F",
            "2024-02-30",
            "9999-12-31",
            "..",
            "/",
        ),
        *(
            "a\nb",
            "\x1b[31m",
            "\u202e",
            "\0",
            "{}",
            "[",
            "'",
            '"',
            "a" * 5000,
            "9" * 5000,
            "é",
            "=",
            "<<",
        ),
    ]
)
NUMBERS = st.integers() | HUGE | st.floats() | st.sampled_from([1e308, -0.0, 5e-324])
SINGLE = st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | WORDS
VALUES = st.recursive(
    SINGLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def answers(call: Callable[[], Any]) -> Any:
    """What a call returns; None where it refuses in words. Any other exception fails the test."""
    try:
        return call()
    except ForgetMIError as error:
        refused = error

    # Each fault on one line, which moves no cursor and is not too long
    lines = str(refused).split("\n")
    assert refused.faults
    assert len(lines) == len(refused.faults)
    for line in lines:
        assert line == printable(line, MOST)
    return None


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value in plain values."""
    paths = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            paths += _paths(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            paths += _paths(item, (*path, position))
    return paths


@st.composite
def changed(draw: st.DrawFn, sound: Any) -> Any:
    """Sound plain values with one to three changes: a value replaced, a key removed, added or repeated."""
    value = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(value)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                value = draw(VALUES)
            continue

        owner = value
        for key in path[:-1]:
            owner = owner[key]
        action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if action == "replace":
            owner[path[-1]] = draw(VALUES)
        elif action == "remove":
            del owner[path[-1]]
        elif isinstance(owner, dict):
            owner[draw(st.text(max_size=5) | WORDS)] = draw(VALUES)
        else:
            owner.append(draw(VALUES))
    return value


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """Sound bytes that were cut, overwritten, doubled or filled with zeros somewhere."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 40))
        action = draw(st.sampled_from(["overwrite", "cut", "end", "double", "zeros"]))
        if action == "overwrite":
            content[at : at + length] = draw(st.binary(max_size=40))
        elif action == "cut":
            del content[at : at + length]
        elif action == "end":
            del content[at:]
        elif action == "double":
            content[at:at] = content[at : at + length]
        else:
            content[at : at + length] = bytes(length)
    return bytes(content)


def plain_of(kind: Any) -> Any:
    """The simplest plain value of an annotated type; of a dataclass, every field."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {f.name: plain_of(hints[f.name]) for f in dataclasses.fields(kind) if f.init}

    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return plain_of(next(option for option in inner if option is not type(None)))
    if origin is Literal:
        return inner[0]
    if origin is tuple:
        return [plain_of(inner[0])] if inner[1:] == (Ellipsis,) else [plain_of(i) for i in inner]
    if origin is Mapping:
        return {"a": plain_of(inner[1])}
    simple: dict[Any, Any] = {int: 1, float: 0.5, str: "a", bool: True, Path: "a"}
    return simple.get(kind, "a")


def names_of(registry: Registry) -> st.SearchStrategy[str]:
    """Registered names."""
    return st.sampled_from(registry.names())
