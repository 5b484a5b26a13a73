"""The release's report noise: keywords blanked out, then words or characters disturbed.

Equal to the release in distribution, not draw by draw: it uses one global generator, this module an explicit one.
Source: data_preprocessing/text_noise of the Forget-MI release (arXiv 2506.23145); the paper's text names character and
word noise only. As released, the keyword step fails on every text; what is reproduced here is its evident intention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from forgetmi.core.errors import CohortError, Fault

KEYWORDS = (
    "atelectasis",
    "lung",
    "edema",
    "cardiomegaly",
    "silhouette",
    "pneumothorax",
    "markings",
    "disease",
    "NUMBER",
    "chest",
)
BLANK = "[NOISE]"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_COLUMNS = ("first_word", "second_word", "similarity")


def read_synonyms(path: Path) -> dict[str, str]:
    """What each word of column ``second_word`` is replaced by: the ``first_word`` most similar to it.

    Args:
        path: The release's Synonyms.csv. Where two are equally similar, the earlier row wins.

    Raises:
        CohortError: The file cannot be read or lacks a column.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise CohortError(
            Fault("the synonyms cannot be read", where=path.name, why=type(error).__name__)
        ) from error
    missing = [
        Fault(f"column {name!r} is missing", where=path.name)
        for name in _COLUMNS
        if name not in table
    ]
    if missing:
        raise CohortError(missing)

    # The row with the largest similarity of each word; of equal ones the first.
    best = table.loc[table.groupby("second_word", sort=False)["similarity"].idxmax()]
    return dict(zip(best["second_word"], best["first_word"], strict=True))


def blank_keywords(text: str, rng: np.random.Generator) -> str:
    """Choose two of the keywords that occur (all, if fewer) and replace each of their occurrences by ``[NOISE]``.

    Whole words, whatever their case. Two keywords go at every noise level, also at 0.
    """
    # Keywords of the text as whole words, in the order of the list.
    present = [word for word in KEYWORDS if re.search(rf"\b{word}\b", text, re.IGNORECASE)]
    if not present:
        return text

    # Two of them, or the only one.
    chosen = rng.choice(present, min(2, len(present)), replace=False)
    return re.sub(rf"\b({'|'.join(chosen)})\b", BLANK, text, flags=re.IGNORECASE)


def word_noise(
    text: str, *, level: float, synonyms: Mapping[str, str], rng: np.random.Generator
) -> str:
    """Replace one word by its synonym, then disturb each word with probability ``level``.

    One occurrence of a word that has a synonym (exact spelling) is chosen at random; the word is replaced everywhere.
    A disturbed word is left out, written three times, or swapped with a random position of the list being walked. After
    a swap the word itself is still written, so that words are doubled or missing.

    Args:
        text: A report.
        level: Probability, 0 to 1.
        synonyms: From `read_synonyms`; empty = no replacement.
        rng: Where the randomness comes from.
    """
    # One word becomes its synonym, which may be several words.
    words = text.split()
    replaceable = [word for word in words if word in synonyms]
    if replaceable:
        chosen = replaceable[rng.integers(len(replaceable))]
        words = [synonyms[chosen] if word == chosen else word for word in words]
    words = " ".join(words).split()

    # The list is changed while it is walked, as in the release: a swap moves words behind or ahead.
    written: list[str] = []
    for position in range(len(words)):
        word = words[position]

        # Left out, written three times, or swapped.
        kind = rng.integers(3) if rng.random() < level else None
        if kind == 0:
            continue
        if kind == 1:
            written += [word, word]
        elif kind == 2:
            other = rng.integers(len(words))
            words[position], words[other] = words[other], words[position]
        written.append(word)
    return " ".join(written)


def character_noise(text: str, *, level: float, rng: np.random.Generator) -> str:
    """With probability ``level`` a word gets a letter inserted, deleted, substituted, or swapped with its neighbour.

    One-letter words are spared by deletion and swap.

    Args:
        text: A report.
        level: Probability, 0 to 1.
        rng: Where the randomness comes from.
    """
    written = []
    for word in text.split():
        disturbed = rng.random() < level
        written.append(_misspell(word, rng) if disturbed else word)
    return " ".join(written)


def _misspell(word: str, rng: np.random.Generator) -> str:
    """A word with one letter inserted, substituted, deleted, or swapped with the next."""
    # Both are drawn for every kind, so that the stream does not depend on it.
    kind = rng.integers(4)
    letter = _LETTERS[rng.integers(26)]

    # Insert.
    if kind == 0:
        position = rng.integers(len(word) + 1)
        return word[:position] + letter + word[position:]

    # Substitute.
    if kind == 1:
        position = rng.integers(len(word))
        return word[:position] + letter + word[position + 1 :]

    if len(word) == 1:
        return word

    # Delete.
    if kind == 2:
        position = rng.integers(len(word))
        return word[:position] + word[position + 1 :]

    # Swap with the next letter.
    position = rng.integers(len(word) - 1)
    swapped = word[position + 1] + word[position]
    return word[:position] + swapped + word[position + 2 :]


def noisy_text(
    text: str, *, level: float, synonyms: Mapping[str, str], rng: np.random.Generator
) -> str:
    """A report as the release disturbs it: keywords blanked, then word or character noise, each half of the time.

    Args:
        text: A report.
        level: Probability that a word is disturbed, 0 to 1 (0.5 in the release's configuration).
        synonyms: From `read_synonyms`; empty = no replacement.
        rng: Where the randomness comes from.
    """
    text = blank_keywords(text, rng)

    # Words or characters, at even odds.
    if rng.random() < 0.5:
        return word_noise(text, level=level, synonyms=synonyms, rng=rng)
    return character_noise(text, level=level, rng=rng)
