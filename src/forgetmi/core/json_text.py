"""The one reader of JSON: every key once, whole numbers of 64 bits, finite numbers, bounded depth and size."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from forgetmi.core.errors import ForgetMIError, SpecError
from forgetmi.core.plain_text import Source, check_values, decoded, read_text, too_deep

# Most bytes of a file, unless a reader allows more, and most values in it.
MOST_BYTES = 64 * 2**20
MOST_VALUES = 10_000_000

# What tells where a key stands: text, brackets, colons and line ends.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:\n]', re.DOTALL)

# Deepest bracket that the search for a key follows.
_BRACKETS = 10_000


def read_json(
    path: Path,
    *,
    what: str,
    do: str,
    error: type[ForgetMIError] = SpecError,
    where: str = "",
    limit: int = MOST_BYTES,
) -> Any:
    """The values in a file of JSON.

    Use it for every JSON file, whoever wrote it.

    Args:
        path: The file.
        what: What it is, for messages, e.g. "the partition".
        do: What the reader can do when it cannot be read.
        error: Class of the error that is raised.
        where: How messages name the file; default: its name.
        limit: Most bytes.

    Returns:
        Mappings, lists, text, numbers, truth values and None.

    Raises:
        ForgetMIError: It cannot be read or is no strict JSON; of the class `error`, with the line where there is one.
    """
    source = Source(where or path.name, what, do, error)
    return _parsed(read_text(path, source, limit=limit), source)


def parse_json(
    text: str | bytes, *, where: str, what: str, do: str, error: type[ForgetMIError] = SpecError
) -> Any:
    """The values in a text of JSON; see `read_json`."""
    source = Source(where, what, do, error)
    if isinstance(text, bytes):
        text = decoded(text, source)
    return _parsed(text, source)


def mapping(value: Any, source: Source) -> dict[str, Any]:
    """Values that must be a mapping.

    Raises:
        ForgetMIError: They are something else.
    """
    if not isinstance(value, dict):
        raise source.refused("it is no mapping of keys to values")
    return value


def _parsed(text: str, source: Source) -> Any:
    """Parse, then check what was parsed."""
    if not text.strip():
        raise source.refused("it is empty")

    # Every value but the first stands behind one of these, so this is at least their number.
    if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
        raise source.refused(f"it has more than {MOST_VALUES:,} values")

    try:
        value = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except _Twice:
        raise source.twice(_keys_twice(text)) from None
    except _NoNumber:
        raise source.refused("it holds NaN or Infinity, which are no JSON") from None
    except json.JSONDecodeError as error:
        raise source.refused("it is no JSON", line=error.lineno) from None
    except ValueError:
        # Python converts no whole number of thousands of digits.
        raise source.refused("it holds a whole number of thousands of digits") from None
    except RecursionError:
        raise source.refused(too_deep()) from None

    check_values(value, source)
    return value


class _Twice(Exception):
    """A key is given twice."""


class _NoNumber(Exception):
    """NaN or an infinity."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _Twice
    return values


def _no_number(constant: str) -> NoReturn:
    raise _NoNumber


def _keys_twice(text: str) -> list[tuple[str, int, int]]:
    """Every key that is given twice in one mapping, with the lines of both places."""
    twice: list[tuple[str, int, int]] = []
    # Of each open bracket: where each key of the mapping stands
    open_mappings: list[dict[str, int]] = [{}]
    line, latest, latest_line = 1, "", 1

    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
        elif token in "{[":
            open_mappings.append({})
        elif token in "}]":
            if len(open_mappings) > 1:
                open_mappings.pop()
        elif token == ":":
            # The text before a colon is a key.
            keys = open_mappings[-1]
            if latest in keys:
                twice.append((latest, keys[latest], latest_line))
            keys.setdefault(latest, latest_line)
        else:
            latest, latest_line = _unescaped(token), line

        if len(open_mappings) > _BRACKETS:
            break

    return twice


def _unescaped(token: str) -> str:
    """A text of JSON without its quotes and escapes."""
    try:
        return json.loads(token, strict=False)
    except ValueError:
        return token
