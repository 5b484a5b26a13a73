"""The one reader of YAML: one document, every key once, no aliases or tags, and numbers that are what they show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from forgetmi.core.errors import ForgetMIError, SpecError
from forgetmi.core.plain_text import (
    LEAST_NUMBER,
    MOST_DEPTH,
    MOST_NUMBER,
    Source,
    check_values,
    read_text,
    too_deep,
)

# Most bytes of a settings file, and most values in it.
MOST_BYTES = 4 * 2**20
MOST_VALUES = 200_000

# Longest value on a command line, characters.
MOST_CHARACTERS = 64 * 2**10

# Resolved by YAML 1.1 to something else than a setting means: dates are text here, and "=" and "<<" mean nothing.
_NOT_RESOLVED = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_MERGE = "tag:yaml.org,2002:merge"

# Whole numbers that are read as they look: 012 would be 10, and 1:30 would be 90.
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+|0b[01]+)")
_MOST_DIGITS = 400

# libyaml parses a hundred times as fast as Python.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """YAML's safe loader with fewer meanings."""


_resolvers: dict[str, list[tuple[str, Any]]] = {}
for _first, _pairs in _Base.yaml_implicit_resolvers.items():
    _resolvers[_first] = [pair for pair in _pairs if pair[0] not in _NOT_RESOLVED]
_Loader.yaml_implicit_resolvers = _resolvers


def read_yaml_values(
    path: Path, *, what: str, do: str, error: type[ForgetMIError] = SpecError
) -> Any:
    """The values in a file of YAML that a person wrote.

    Use it for specifications, sweep files and everything else in YAML.

    Args:
        path: The file.
        what: What it is, for messages, e.g. "the specification".
        do: What the reader can do when it cannot be read.
        error: Class of the error that is raised.

    Returns:
        Mappings, lists, text, numbers, truth values and None; dates stay text.

    Raises:
        ForgetMIError: It cannot be read, is empty, or is not of this form; of the class `error`, with the lines.
    """
    source = Source(path.name, what, do, error)
    text = read_text(path, source, limit=MOST_BYTES)
    value = _parsed(text, source) if _documents(text, source) else None
    if value is None:
        raise source.refused("the file is empty")
    return value


def parse_yaml(
    text: str,
    *,
    where: str,
    what: str,
    do: str,
    error: type[ForgetMIError] = SpecError,
    limit: int = MOST_CHARACTERS,
) -> Any:
    """The value in a text of YAML, e.g. of an option; None where it is empty. See `read_yaml_values`."""
    source = Source(where, what, do, error)
    if len(text) > limit:
        raise source.refused(f"it has more than {limit:,} characters")

    if not _documents(text, source):
        return None
    return _parsed(text, source)


def _documents(text: str, source: Source) -> int:
    """How many documents a text has, 0 or 1, once its form is checked event by event: nothing is built yet."""
    depth = documents = 0
    for number, event in enumerate(_events(text, source)):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise source.refused(
                "anchors (&) and aliases (*) are not read; write the value", line=line
            )
        if getattr(event, "tag", None):
            raise source.refused("tags (!) are not read", line=line)

        # Nesting and number of values
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                raise source.refused(too_deep(), line=line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise source.refused("it has more than one document", line=line)

        if number > 2 * MOST_VALUES:
            raise source.refused(f"it has more than {MOST_VALUES:,} values", line=line)

    return documents


def _events(text: str, source: Source) -> Iterator[Any]:
    """The parser's events; its errors without the text that they quote."""
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source.where}, line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Source(place or source.where, source.what, source.do, source.error).refused(
            "it is no YAML: check indentation, quotes and colons"
        ) from None
    except yaml.YAMLError:
        raise source.refused("it holds a character that YAML does not allow") from None
    except (UnicodeError, RecursionError):
        raise source.refused("it is no text that can be read") from None


def _parsed(text: str, source: Source) -> Any:
    """The values of a text whose form was checked."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        _check_nodes(node, source)
        value = loader.construct_document(node)
    except ConstructorError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else 0
        raise source.refused("a value is not of the form it begins with", line=line) from None
    except ValueError:
        raise source.refused("it holds a number or date that is none") from None
    finally:
        loader.dispose()

    check_values(value, source)
    return value


def _check_nodes(root: Any, source: Source) -> None:
    """Keys are text and given once, and whole numbers look like what they mean.

    Raises:
        ForgetMIError: They are not; keys that are given twice all at once.
    """
    twice: list[tuple[str, int, int]] = []
    open_nodes = [root]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, yaml.MappingNode):
            twice += _keys_twice(node, source)
            open_nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            open_nodes += node.value
        else:
            _check_number(node, source)

    if twice:
        raise source.twice(sorted(twice, key=lambda key: key[2]))


def _keys_twice(node: Any, source: Source) -> list[tuple[str, int, int]]:
    """Keys of one mapping that are given twice, with the lines of both places."""
    lines: dict[str, int] = {}
    twice = []
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.tag == _MERGE:
            raise source.refused("merge keys (<<) are not read; write the keys", line=line)
        if key.tag != "tag:yaml.org,2002:str":
            raise source.refused("a key is no text; quote it", line=line)

        if key.value in lines:
            twice.append((key.value, lines[key.value], line))
        lines.setdefault(key.value, line)
    return twice


def _check_number(node: Any, source: Source) -> None:
    """Refuse numbers that are none, or that YAML reads as another one than a person does."""
    line = node.start_mark.line + 1
    text = node.value.replace("_", "")

    if node.tag == "tag:yaml.org,2002:int":
        if len(text) > _MOST_DIGITS:
            raise source.refused("a whole number has hundreds of digits", line=line)
        if not _WHOLE.fullmatch(text):
            reason = (
                "a whole number begins with 0 or holds a colon, which YAML reads as another number"
            )
            raise source.refused(f"{reason}; quote it or write it plainly", line=line)
        if not LEAST_NUMBER <= int(text, 0) <= MOST_NUMBER:
            raise source.refused("a whole number does not fit 64 bits", line=line)

    if node.tag == "tag:yaml.org,2002:float":
        if ":" in text:
            reason = "a number holds a colon, which YAML reads as another number"
            raise source.refused(reason, line=line)
        if text.lstrip("+-").lower() in (".inf", ".nan") or not math.isfinite(float(text)):
            raise source.refused("a number is infinite or none (inf, nan, or too large)", line=line)
