"""Noise for reports: sentences in another order, changed letters, and moved, repeated or deleted words."""

from __future__ import annotations

import re

import numpy as np

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def rearrange(text: str, rng: np.random.Generator, *, shuffle: bool, drop: float) -> str:
    """Let sentences change places, and drop the last one with some probability.

    Args:
        text: A report.
        rng: Source of all draws.
        shuffle: Whether sentences change places; the first one (the header) goes first or last.
        drop: Probability that the last of more than two sentences is dropped, 0..1.
    """
    sentences = _SENTENCE_END.split(text.strip())

    if shuffle:
        header, rest = sentences[0], sentences[1:]
        body = [rest[position] for position in rng.permutation(len(rest))]
        header_first = rng.random() < 0.5
        sentences = [header, *body] if header_first else [*body, header]

    if len(sentences) > 2 and rng.random() < drop:
        sentences.pop()
    return " ".join(sentences)


def change_characters(text: str, level: float, rng: np.random.Generator) -> str:
    """Each word with probability `level`: insert, delete or substitute a letter, or swap two neighbours."""
    words = text.split()

    # Four draws a word, whether it is changed or not.
    draws = rng.random((len(words), 4)).tolist()
    for number, (chance, kind, place, letter) in enumerate(draws):
        if chance < level:
            new_letter = _LETTERS[int(letter * 26)]
            words[number] = _change_word(words[number], int(kind * 4), place, new_letter)
    return " ".join(words)


def change_words(text: str, level: float, rng: np.random.Generator) -> str:
    """Each word with probability `level`: delete it, repeat it, or swap it with another position."""
    words = text.split()
    count = len(words)
    order = list(range(count))
    repeats = [1] * count

    # Three draws a word, whether it is changed or not.
    draws = rng.random((count, 3)).tolist()
    for position, (chance, kind, place) in enumerate(draws):
        if chance >= level:
            continue

        if kind < 1 / 3:
            repeats[position] = 0
        elif kind < 2 / 3:
            repeats[position] = 2
        elif count > 1:
            # Any position but its own.
            other = int(place * (count - 1))
            if other >= position:
                other += 1
            order[position], order[other] = order[other], order[position]

    changed: list[str] = []
    for number in order:
        changed.extend([words[number]] * repeats[number])
    return " ".join(changed)


def _change_word(word: str, kind: int, place: float, letter: str) -> str:
    """Insert (kind 0), substitute (1), delete (2) or swap letters (3) at a place from 0 to below 1."""
    length = len(word)

    if kind == 0:
        position = int(place * (length + 1))
        return word[:position] + letter + word[position:]

    if kind == 1:
        position = int(place * length)
        return word[:position] + letter + word[position + 1 :]

    # Words of one letter have none to spare or to swap.
    if length == 1:
        return word

    if kind == 2:
        position = int(place * length)
        return word[:position] + word[position + 1 :]

    position = int(place * (length - 1))
    swapped = word[position + 1] + word[position]
    return word[:position] + swapped + word[position + 2 :]
