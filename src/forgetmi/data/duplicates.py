"""Copies of what is to be forgotten that would live on under another patient: images, and distinctive report texts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.fft import dctn, idctn

from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.near_duplicates import DuplicateKind, NearDuplicate, NearDuplicates
from forgetmi.core.partition import SETS, Partition
from forgetmi.data.image_store import ImageStore, build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing

Features = npt.NDArray[np.float32]

SIDE = 64  # pixels an image is looked at with; stretched, so that no padding takes part
_KEPT, _HASHED = 32, 16  # lowest frequencies a side that are compared, and that make the hash
_FINEST, _COARSEST = 1.3, 4.0  # pixels: standard deviations of the band-pass
_CLIP = 2.0  # robust standard deviations; what lies beyond (edges of the film, letters) counts no more than this
RADIUS = 48  # differing bits of 255 up to which two images are compared on pixels
SAME_IMAGE = 0.935  # correlation from which they are one image
_SHRINKAGE = 16  # images that speak against the mean of a small cohort
_SAMPLE, _CHUNK = 2048, 1024
SHINGLE, RARE, DISTINCTIVE, SAME_REPORT = (
    5,
    5,
    16,
    0.5,
)  # words; patients; shared rare shingles; Jaccard index


def find_duplicates(
    cohort: Cohort,
    partition: Partition,
    *,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> NearDuplicates:
    """List what is forgotten and lives on as a copy elsewhere.

    Run it before unlearning: a model cannot forget what stays in its training data under another name. Images are known
    by their content, then by a perceptual hash (signs of the lowest frequencies of a 64-pixel image, relative to the
    cohort's mean), and candidates are confirmed by the correlation of their band-passed pixels. Reports are alike when
    most of their word 5-grams agree and enough of these occur in few patients, so that stock phrases do not count.

    Args:
        cohort: The cohort.
        partition: Its forgotten rows are compared with all others.
        cache: Folder of prepared images.
        progress: Called with (images prepared, images in all).

    Raises:
        CohortError: Images cannot be read.
    """
    store = build_image_store(
        cohort, ImagePreprocessing(size=SIDE, fit="stretch"), cache=cache, progress=progress
    )
    side = np.full(len(cohort), "", dtype=object)
    for name in SETS:
        side[partition.rows(name)] = name
    forgotten = side == "forget"
    there = store.shard >= 0
    first, others = (
        np.flatnonzero(forgotten & there),
        np.flatnonzero(~forgotten & (side != "") & there),
    )
    copies = [
        NearDuplicate(
            kind,
            round(alike, 4),
            patient=str(cohort.patient[a]),
            other_patient=str(cohort.patient[b]),
            other_set=side[b],
            item=str(cohort.image_id[a]),
            other_item=str(cohort.image_id[b]),
        )
        for a, b, kind, alike in same_images(store, first, others)
    ]
    study = codes(cohort.study)[0]
    one = np.unique(study, return_index=True)[1]
    mine, rest = one[forgotten[one]], one[~forgotten[one] & (side[one] != "")]
    copies += [
        NearDuplicate(
            "same report",
            round(alike, 4),
            patient=str(cohort.patient[a]),
            other_patient=str(cohort.patient[b]),
            other_set=side[b],
            item=str(cohort.study[a]),
            other_item=str(cohort.study[b]),
        )
        for a, b, alike in same_reports(cohort.report, codes(cohort.patient)[0], mine, rest)
    ]
    copies.sort(key=lambda copy: (-copy.similarity, copy.item, copy.other_item))
    return NearDuplicates(tuple(copies), (len(first), len(others)), (len(mine), len(rest)))


def same_images(
    store: ImageStore, first: Ints, others: Ints
) -> Iterator[tuple[int, int, DuplicateKind, float]]:
    """Pairs of rows that show one image.

    Time grows with len(first) x len(others), but a comparison is 255 bits; memory does not grow with `others`.

    Args:
        store: Images of 64 pixels, stretched.
        first: Rows to look for.
        others: Rows to look in.

    Returns:
        Row of `first`, row of `others`, how they are alike, and their correlation.
    """
    if len(first) == 0 or len(others) == 0:
        return
    sample = np.concatenate([first, others])
    sample = sample[np.linspace(0, len(sample) - 1, min(_SAMPLE, len(sample))).astype(np.int64)]
    mean = np.mean(_bands(store, sample), axis=0) * np.float32(
        len(sample) / (len(sample) + _SHRINKAGE)
    )
    place = {}
    for row in first.tolist():
        place.setdefault((store.shard[row], store.slot[row]), []).append(row)
    mine = np.concatenate([_relative(_bands(store, rows), mean) for rows in _chunks(first)])
    bits = _hash(mine)
    for rows in _chunks(others):
        theirs = _relative(_bands(store, rows), mean)
        agreement = bits @ _hash(theirs).T
        for a, b in zip(*np.nonzero(agreement >= bits.shape[1] - 2 * RADIUS), strict=True):
            alike = float(mine[a] @ theirs[b])
            same_file = first[a] in place.get((store.shard[rows[b]], store.slot[rows[b]]), ())
            if alike >= SAME_IMAGE and not same_file:
                yield int(first[a]), int(rows[b]), "same image", alike
        for row in rows.tolist():
            for known in place.get((store.shard[row], store.slot[row]), ()):
                yield known, row, "same file", 1.0


def _chunks(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


@lru_cache(1)
def _weights() -> Features:
    """The band-pass on cosine frequencies: what a film shows between its finest grain and its overall shading."""
    frequency = np.pi * np.arange(_KEPT) / SIDE
    square = frequency[:, None] ** 2 + frequency[None] ** 2
    return (np.exp(-(_FINEST**2) * square / 2) - np.exp(-(_COARSEST**2) * square / 2)).astype(
        np.float32
    )


def _bands(store: ImageStore, rows: Ints) -> Features:
    """Band-passed images at half the side, clipped and of unit contrast."""
    spectrum = np.asarray(dctn(store.images(rows)[:, 0], axes=(1, 2), norm="ortho"))
    passed = np.asarray(idctn(spectrum[:, :_KEPT, :_KEPT] * _weights(), axes=(1, 2), norm="ortho"))
    passed = passed.reshape(len(rows), -1)
    spread = 1.4826 * np.median(np.abs(passed), axis=1, keepdims=True)
    return _unit(np.clip(passed, -_CLIP * spread, _CLIP * spread))


def _relative(bands: Features, mean: Features) -> Features:
    """What a film does not share with all films; an empty image stays 0 and is like nothing."""
    return _unit(np.where(bands.any(axis=1, keepdims=True), bands - mean, np.float32(0)))


def _unit(values: Features) -> Features:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 1e-6)


def _hash(features: Features) -> Features:
    """Signs of the lowest frequencies but the constant one, +1 and -1; equal bits are then a matrix product."""
    spectrum = np.asarray(dctn(features.reshape(-1, _KEPT, _KEPT), axes=(1, 2), norm="ortho"))
    low = spectrum[:, :_HASHED, :_HASHED].reshape(len(features), -1)[:, 1:]
    return np.where(low > 0, np.float32(1), np.float32(-1))


def same_reports(
    reports: Strings | Sequence[str],
    patient: Ints,
    first: Ints,
    others: Ints,
) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows whose reports are nearly the same and say something that few patients' reports say.

    Args:
        reports: Texts of all rows.
        patient: Patient codes of all rows.
        first: Rows to look for, one a study.
        others: Rows to look in, one a study.

    Returns:
        Row of `first`, row of `others`, and the Jaccard index of their word 5-grams.
    """
    rows = np.concatenate([first, others])
    shingles = [_shingles(str(reports[row])) for row in rows]
    table = pd.DataFrame(
        {
            "shingle": np.concatenate([*shingles, np.empty(0, np.uint64)]),
            "row": np.repeat(rows, [len(one) for one in shingles]),
        }
    )
    table["patient"] = patient[table["row"].to_numpy()]
    spread = table.groupby("shingle")["patient"].transform("nunique").to_numpy()
    rare = table.loc[spread <= RARE, ["shingle", "row"]]
    mine = rare["row"].isin(first)
    shared = (
        rare[mine]
        .merge(rare[~mine], on="shingle", suffixes=("", "_other"))
        .groupby(["row", "row_other"])
        .size()
    )
    of = {int(row): shingle for row, shingle in zip(rows, shingles, strict=True)}
    for a, b in shared.index[shared >= DISTINCTIVE]:
        both = len(np.intersect1d(of[a], of[b], assume_unique=True))
        alike = both / (len(of[a]) + len(of[b]) - both)
        if alike >= SAME_REPORT:
            yield int(a), int(b), alike


_WORD = re.compile(r"[^\W_]+")
_MIX = np.array([pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(SHINGLE)], np.uint64)


def _shingles(text: str) -> npt.NDArray[np.uint64]:
    """The distinct word 5-grams of a text, as numbers."""
    words = np.array([_number(word) for word in _WORD.findall(text.lower())], np.uint64)
    if len(words) < SHINGLE:
        return np.empty(0, np.uint64)
    return np.unique(
        (np.lib.stride_tricks.sliding_window_view(words, SHINGLE) * _MIX).sum(
            axis=1, dtype=np.uint64
        )
    )


@lru_cache(2**18)
def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
