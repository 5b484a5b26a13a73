"""Values as a Weights & Biases agent writes them: ``--NAME=VALUE``, nested parameters as one mapping."""

from __future__ import annotations

import ast
import dataclasses
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetmi.core.plain_text import MOST_DEPTH, Source, check_values
from forgetmi.core.printable import MOST_VALUE, printable
from forgetmi.core.yaml_text import MOST_CHARACTERS, parse_yaml
from forgetmi.run.spec import CHOICES


def split_pairs(argv: Sequence[str], parts: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Split off ``--NAME=VALUE`` of a run's parts; ``--method=KIND`` stays, ``--method={...}`` does not.

    Args:
        argv: Arguments after the command's name.
        parts: Fields of the run specification that the command uses.

    Returns:
        The other words, and name to value of the pairs.
    """
    rest: list[str] = []
    pairs: dict[str, str] = {}

    for word in argv:
        name, equals, value = word.removeprefix("--").partition("=")
        part = name.partition(".")[0].replace("-", "_")

        is_pair = word.startswith("--") and equals and part in parts
        is_kind = name in CHOICES and not value.startswith("{")
        if is_pair and not is_kind:
            pairs[name] = value
        else:
            rest.append(word)

    return rest, pairs


def read_pairs(
    pairs: Mapping[str, str], types_of_parts: Mapping[str, Any], *, chosen: Mapping[str, type]
) -> tuple[dict[str, Any], list[str]]:
    """The values of pairs.

    Args:
        pairs: Name of an option, e.g. ``method.lr``, to what was written.
        types_of_parts: Type of each field of the run specification.
        chosen: Parts whose kind was chosen on this command line, hence without starting values.

    Returns:
        Values by option, nested parameters one by one; and the words of those options that have no default, which the
        command line itself must hold.
    """
    values: dict[str, Any] = {}
    required: list[str] = []

    for name, text in pairs.items():
        # Follow the name down to the type of the option it means.
        part, *path = name.replace("-", "_").split(".")
        kind = types_of_parts.get(part, Any)
        owner: Any = None
        for key in path:
            owner = kind
            kind = _type_of_option(owner, key)

        if part in chosen and len(path) == 1 and _has_no_default(owner, path[0]):
            required.append(f"--{name}={text}")
        else:
            values |= _one_by_one(name, read_value(text, kind, name), kind)

    return values, required


def read_value(text: str, kind: Any, name: str = "") -> Any:
    """A value as Python writes it, hence the agent (``True``, ``[8, 16]``, ``None``), or as YAML does.

    Args:
        text: The value.
        kind: Type of the option; where that is text, text stays as it is.
        name: Of the option, for messages.

    Raises:
        SpecError: It is neither, holds a key twice, or a number that is none or does not fit 64 bits.
    """
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    alternatives = typing.get_args(kind) if is_union else (kind,)

    if type(None) in alternatives and text in ("None", "null"):
        return None

    # Text, a path, or one of the words of a Literal.
    if str in alternatives or Path in alternatives or text in typing.get_args(kind):
        return text

    # One value of several, as on any command line.
    is_tuple = typing.get_origin(kind) is tuple
    if is_tuple and not text.startswith(("[", "(")):
        return (read_value(text, typing.get_args(kind)[0], name),)

    # Numbers, lists and mappings: as Python writes them, else as YAML does.
    what = f"the value of --{printable(name, MOST_VALUE)}" if name else "the value"
    source = Source("command line", what, "Write a number, a list or text.")
    if len(text) > MOST_CHARACTERS:
        raise source.refused(f"it has more than {MOST_CHARACTERS:,} characters")
    if sum(map(text.count, "([{")) > MOST_DEPTH * MOST_DEPTH:
        raise source.refused("it has too many brackets")

    try:
        tree = ast.parse(text.strip(), mode="eval")
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return parse_yaml(text, where=source.where, what=source.what, do=source.do)

    # Python takes the last of two equal keys.
    twice = _keys_twice(tree)
    if twice:
        raise source.twice([(key, 1, 1) for key in twice])
    check_values(value, source)
    return value


def _keys_twice(tree: ast.AST) -> list[str]:
    """Keys that stand twice in one mapping."""
    twice = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [ast.dump(key) for key in node.keys if key is not None]
            given = {ast.dump(key): key for key in node.keys if key is not None}
            names = [getattr(given[key], "value", "") for key in given if keys.count(key) > 1]
            twice += [str(name) for name in names]
    return twice


def _one_by_one(name: str, value: Any, kind: Any) -> dict[str, Any]:
    """Options one by one, where nested parameters come as one mapping for a part."""
    if not (isinstance(value, dict) and dataclasses.is_dataclass(kind)):
        return {name: value}

    # A mapping in a mapping is taken apart likewise.
    options: dict[str, Any] = {}
    for key, inner in value.items():
        options |= _one_by_one(f"{name}.{key}", inner, _type_of_option(kind, str(key)))
    return options


def _type_of_option(owner: Any, name: str) -> Any:
    """Type of an option of a part; Any where there is no such option, which is reported later."""
    if not dataclasses.is_dataclass(owner):
        return Any
    return typing.get_type_hints(owner).get(name, Any)


def _has_no_default(owner: Any, name: str) -> bool:
    """Whether a part needs this option."""
    if not dataclasses.is_dataclass(owner):
        return False

    for option in dataclasses.fields(owner):
        if option.name == name:
            no_value = option.default is dataclasses.MISSING
            return no_value and option.default_factory is dataclasses.MISSING
    return False
