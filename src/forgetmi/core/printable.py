"""Text from files and command lines as it may be printed: on one line, without control characters, not too long."""

from __future__ import annotations

import unicodedata
from reprlib import Repr
from typing import Any

# Longest text and longest quoted value in a message, characters.
MOST_TEXT = 2_000
MOST_VALUE = 80

# Control characters, invisible marks (also those that turn the reading direction), surrogates, line separators.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str, limit: int = MOST_TEXT) -> str:
    r"""Text that can be printed without changing what stands around it.

    Use it for everything that comes from outside and is printed: names, grounds, headers, keys.

    Args:
        text: Any text.
        limit: Most characters of it that are kept.

    Returns:
        The text with control characters, line ends and invisible marks as escapes (\n, \x1b, \u202e); what is longer
        than `limit` is cut, and its length is given.

    Example:
        >>> print(printable("late\n#2 urgent"))
        late\n#2 urgent
    """
    shown = text[:limit]
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join(_escaped(character) for character in shown)
    if len(text) > limit:
        shown += f"... ({len(text)} characters)"
    return shown


def quoted(value: Any, limit: int = MOST_VALUE) -> str:
    """A value as a message quotes it: its repr, short, and never a failure to make one.

    Args:
        value: A number, text or anything else that an option or a settings file holds; never a patient's data.
        limit: Most characters.

    Returns:
        One line of text.
    """
    # Long text and large collections are cut before they are written out, not after.
    return printable(_Short(limit).repr(value), limit + 40)


class _Short(Repr):
    """A repr that stays short and does not fail, whatever is in the value.

    Args:
        limit: Most characters of a text.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.maxlevel = 4
        self.maxother = limit

    def repr_int(self, x: int, level: int) -> str:
        """A whole number; those of thousands of digits have no decimal text in Python."""
        if abs(x) < 10**20:
            return repr(x)
        digits = x.bit_length() * 30_103 // 100_000 + 1
        return f"a whole number of about {digits} digits"

    def repr_str(self, x: str, level: int) -> str:
        """Text, cut where it is too long."""
        if len(x) <= self.limit:
            return repr(x)
        return f"{x[: self.limit]!r}... ({len(x)} characters)"


def _escaped(character: str) -> str:
    """One character, or its escape."""
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode("ascii")
