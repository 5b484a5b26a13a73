"""Advice for a misspelt word."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from forgetmi.core.printable import MOST_VALUE


def did_you_mean(word: str, known: Iterable[str], then: str = "") -> str:
    """Advice that names the nearest of the known words, if one is near.

    Args:
        word: What was given.
        known: What could have been given.
        then: What follows in any case, e.g. "Known: a, b."

    Returns:
        "Did you mean 'a'?", ``then``, both, or neither.
    """
    # difflib ranks by the share of letters in common; below 0.6 no word counts as near.
    parts = [
        f"Did you mean {near!r}?" for near in get_close_matches(word[:MOST_VALUE], list(known), n=1)
    ]
    if then:
        parts.append(then)
    return " ".join(parts)
