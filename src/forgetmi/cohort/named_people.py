"""Finds identifiers in free words (grounds, notes, reasons, sign-offs), whatever their case and separators."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import canonical, likeness
from forgetmi.cohort.spelling import Subject, alike_kind

_TOKEN = re.compile(r"[^\W_]+")
_MOST_TOKENS = 6  # an identifier has at most so many parts, e.g. AB-12.3/4
_TELLING = 4  # letters and digits from which an identifier in free words is no accident


def likenesses_in(words: str) -> set[str]:
    """What every stretch of words would have in common with an identifier; see `forgetmi.cohort.identity.likeness`.

    Args:
        words: Free words.
    """
    found: set[str] = set()
    for stretch in _stretches(words):
        found.update(likeness(canonical(stretch)))
    return found


def names_somebody(
    words: str, alike: Collection[str], kind: Subject, pseudonyms: Pseudonyms
) -> bool:
    """Whether free words hold an identifier, by keyed digests alone.

    Use it before words are stored or signed that no identifier may be in.

    Args:
        words: Free words.
        alike: Keyed digests of what alike spellings of the identifiers share.
        kind: Whose identifiers they are.
        pseudonyms: Made with the key of the digests.
    """
    if not words or not alike:
        return False
    digests = {pseudonyms.digest(alike_kind(kind), part) for part in likenesses_in(words)}
    return any(digest in alike for digest in digests)


def _stretches(words: str) -> Iterator[str]:
    """Every stretch of some neighbouring parts that is long enough to be an identifier."""
    tokens = list(_TOKEN.finditer(words))
    for first, start in enumerate(tokens):
        letters = 0
        for end in tokens[first : first + _MOST_TOKENS]:
            letters += len(end[0])
            if letters >= _TELLING:
                yield words[start.start() : end.end()]
