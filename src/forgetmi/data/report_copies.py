"""Reports that are nearly the same, and not for stock phrases alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from forgetmi.core.arrays import Ints, Strings

# Words of a shingle, a run of neighbouring words.
SHINGLE = 5

# Patients up to which a shingle is rare, and rare shingles that two reports must share.
RARE = 5
DISTINCTIVE = 16

# Jaccard index of all shingles from which two reports are one.
SAME_REPORT = 0.5

_WORD = re.compile(r"[^\W_]+")

# A shingle's number is a polynomial of its words' numbers, modulo 2**64.
_MIX = np.array([pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(SHINGLE)], np.uint64)


def same_reports(
    reports: Strings | Sequence[str],
    patient: Ints,
    first: Ints,
    others: Ints,
) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows whose reports are nearly the same and share what few patients' reports contain.

    Args:
        reports: Texts of all rows.
        patient: Patient codes of all rows.
        first: Rows to look for, one a study.
        others: Rows to look in, one a study.

    Returns:
        Row of `first`, row of `others`, and the Jaccard index of their word 5-grams.
    """
    shingles = {row: _shingles(str(reports[row])) for row in first.tolist()}
    size = {row: len(numbers) for row, numbers in shingles.items()}

    # Of the others only what is looked for: they may be a hundred times as many
    wanted = np.unique(np.concatenate([*shingles.values(), np.empty(0, np.uint64)]))
    for row in others.tolist():
        numbers = _shingles(str(reports[row]))
        found = _among(numbers, wanted)
        if len(found):
            shingles[row], size[row] = found, len(numbers)

    shared = _shared_rare_shingles(shingles, patient, first)
    pairs = cast(list[tuple[int, int]], shared.index[shared.to_numpy() >= DISTINCTIVE].tolist())
    for row, other in pairs:
        common = len(np.intersect1d(shingles[row], shingles[other], assume_unique=True))
        either = size[row] + size[other] - common
        similarity = common / either
        if similarity >= SAME_REPORT:
            yield int(row), int(other), similarity


def _among(
    numbers: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Those of some numbers that are among others, which are sorted."""
    if not len(wanted):
        return wanted
    at = np.minimum(np.searchsorted(wanted, numbers), len(wanted) - 1)
    return numbers[wanted[at] == numbers]


def _shared_rare_shingles(
    shingles: dict[int, npt.NDArray[np.uint64]], patient: Ints, first: Ints
) -> pd.Series:
    """How many rare shingles each pair of a row to look for and another row shares."""
    rows = np.array(list(shingles), np.int64)
    counts = [len(numbers) for numbers in shingles.values()]
    table = pd.DataFrame(
        {
            "shingle": np.concatenate([*shingles.values(), np.empty(0, np.uint64)]),
            "row": np.repeat(rows, counts),
        }
    )

    # Shingles of few patients.
    table["patient"] = patient[table["row"].to_numpy()]
    patients = table.groupby("shingle")["patient"].transform("nunique").to_numpy()
    rare = table.loc[patients <= RARE, ["shingle", "row"]]

    # Pairs of rows that have the same one.
    looked_for = rare["row"].isin(first)
    pairs = rare[looked_for].merge(rare[~looked_for], on="shingle", suffixes=("", "_other"))
    return pairs.groupby(["row", "row_other"]).size()


def _shingles(text: str) -> npt.NDArray[np.uint64]:
    """The distinct word 5-grams of a text, as numbers."""
    words = np.array([_number(word) for word in _WORD.findall(text.lower())], np.uint64)
    if len(words) < SHINGLE:
        return np.empty(0, np.uint64)

    windows = np.lib.stride_tricks.sliding_window_view(words, SHINGLE)
    return np.unique((windows * _MIX).sum(axis=1, dtype=np.uint64))


@lru_cache(2**18)
def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
