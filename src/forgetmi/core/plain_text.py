"""Text of settings and stored files before it is parsed, and the bounds of what it may hold afterwards."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.regular_file import read_regular

# Deepest nesting, and whole numbers as every format and library holds them.
MOST_DEPTH = 64
MOST_NUMBER, LEAST_NUMBER = 2**63 - 1, -(2**63)

# What a setting or option may be called.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,79}")

# Faults of one file that are listed; the others are counted.
MOST_FAULTS = 20


@dataclass(frozen=True)
class Source:
    """What is read, for messages.

    Args:
        where: Name of the file, or "command line".
        what: What is read, e.g. "the partition".
        do: What the reader can do when it cannot be read.
        error: Class of the error that is raised.
    """

    where: str
    what: str
    do: str
    error: type[ForgetMIError] = SpecError

    def refused(self, why: str, *, line: int = 0) -> ForgetMIError:
        """The error of a text that cannot be read.

        Args:
            why: The reason in words, without the content.
            line: Where, from 1; 0 = nowhere in particular.
        """
        place = f"{self.where}, line {line}" if line else self.where
        return self.error(Fault(f"{self.what} cannot be read", where=place, why=why, do=self.do))

    def twice(self, keys: list[tuple[str, int, int]]) -> ForgetMIError:
        """The error of keys that are given twice.

        Args:
            keys: Each key with the lines of its first and its second place.
        """
        faults = []
        for key, first, second in keys[:MOST_FAULTS]:
            place = f"lines {first} and {second}" if second != first else f"line {first}"
            faults.append(
                Fault(
                    f"{key_named(key)} is given twice",
                    where=f"{self.where}, {place}",
                    why="only one of the two can hold",
                    do="Remove one of them.",
                )
            )

        if len(keys) > MOST_FAULTS:
            more = len(keys) - MOST_FAULTS
            faults.append(Fault(f"{more} more keys are given twice", where=self.where))
        return self.error(faults)


def read_text(path: Path, source: Source, *, limit: int) -> str:
    """The text of a file in UTF-8.

    Args:
        path: The file.
        source: What it is.
        limit: Most bytes.

    Raises:
        ForgetMIError: It is absent, no regular file, too large, or not UTF-8; of the class that `source` names.
    """
    try:
        content = read_regular(path, limit=limit)
    except OSError as error:
        raise source.refused(error.strerror or type(error).__name__) from None
    except ValueError:
        # A path with a zero byte
        raise source.refused("the path holds a character that no path may hold") from None

    return decoded(content, source)


def decoded(content: bytes, source: Source) -> str:
    """Text from bytes in UTF-8, without the mark that some editors write first.

    Raises:
        ForgetMIError: They are something else.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise source.refused("it is UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise source.refused("it is not UTF-8", line=line) from None


def key_named(key: str) -> str:
    """A key as a message names it: quoted where it can be the name of a setting, else not (it may be data).

    Args:
        key: From a file that was given as settings, and may be another file.
    """
    return (
        f"key {quoted(key)}"
        if _NAME.fullmatch(key)
        else "a key (not quoted: it is no setting's name)"
    )


def check_values(value: Any, source: Source) -> None:
    """Refuse what no setting and no stored file of ours may hold, at any depth.

    Args:
        value: Parsed values: mappings, lists, numbers, text.
        source: Where they come from.

    Raises:
        ForgetMIError: Values are nested too deeply, a whole number has more than 64 bits, a number is none or infinite,
            or text holds half a character.
    """
    # Not recursive: the values may be as deep as their writer liked.
    open_values = [(value, 0)]
    while open_values:
        item, depth = open_values.pop()
        if depth > MOST_DEPTH:
            raise source.refused(too_deep())

        if isinstance(item, dict):
            inner = [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            inner = item
        else:
            inner = [item]

        for each in inner:
            if isinstance(each, dict | list | tuple):
                open_values.append((each, depth + 1))
            elif reason := _why_not(each):
                raise source.refused(reason)


def too_deep() -> str:
    """Why deep nesting is refused."""
    return f"its values are nested deeper than {MOST_DEPTH}"


def _why_not(value: Any) -> str:
    """Why a single value is refused; empty = it is not."""
    kind = type(value)
    if kind is int and not LEAST_NUMBER <= value <= MOST_NUMBER:
        return f"it holds {quoted(value)}, which does not fit 64 bits"
    if kind is float and not math.isfinite(value):
        return "it holds a number that is infinite or none (inf, nan, or too large)"
    if kind is str and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        return "its text holds half of a character (a lone surrogate)"
    return ""
