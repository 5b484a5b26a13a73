"""Images that show the same radiograph: by content, then by perceptual hash and correlation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

from forgetmi.core.arrays import Ints
from forgetmi.core.near_duplicates import DuplicateKind
from forgetmi.data.image_store import ImageStore

Features = npt.NDArray[np.float32]
Match = tuple[int, int, DuplicateKind, float]

# Side in pixels at which images are compared; stretched, so that no padding takes part.
SIDE = 64

# Lowest frequencies a side that are compared, and that make the hash.
_COMPARED, _HASHED = 32, 16

# Standard deviations of the band-pass, pixels: finest and coarsest.
_FINEST, _COARSEST = 1.3, 4.0

# Robust standard deviations; what lies beyond (edges of the film, letters) counts no more than this.
_CLIP = 2.0

# Differing bits of 255 up to which two images are compared on pixels.
RADIUS = 48

# Correlation from which they are one image.
SAME_IMAGE = 0.935

# Images that speak against the mean of a small cohort.
_SHRINKAGE = 16

# Images whose mean stands for the cohort's, and images that are compared at once.
_SAMPLE, _CHUNK = 2048, 1024


def same_images(store: ImageStore, first: Ints, others: Ints) -> Iterator[Match]:
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

    # Equal files share a place in the store.
    rows_at_place: dict[tuple[int, int], list[int]] = {}
    for row in first.tolist():
        rows_at_place.setdefault(_place(store, row), []).append(row)

    # Features and hashes of the rows to look for, relative to the mean film.
    mean = _mean_film(store, np.concatenate([first, others]))
    chunks = [_relative(_bands(store, rows), mean) for rows in _chunks(first)]
    features = np.concatenate(chunks)
    bits = _hash(features)
    fewest_equal = bits.shape[1] - 2 * RADIUS

    for rows in _chunks(others):
        other_features = _relative(_bands(store, rows), mean)

        # Hashes that nearly agree are compared on pixels. Of n bits, equal less different ones is a product of signs.
        agreement = bits @ _hash(other_features).T
        for i, j in zip(*np.nonzero(agreement >= fewest_equal), strict=True):
            correlation = float(features[i] @ other_features[j])
            same_file = first[i] in rows_at_place.get(_place(store, int(rows[j])), ())
            if correlation >= SAME_IMAGE and not same_file:
                yield int(first[i]), int(rows[j]), "same image", correlation

        for row in rows.tolist():
            for equal in rows_at_place.get(_place(store, row), ()):
                yield equal, row, "same file", 1.0


def _place(store: ImageStore, row: int) -> tuple[int, int]:
    return store.shard[row], store.slot[row]


def _chunks(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


def _mean_film(store: ImageStore, rows: Ints) -> Features:
    """What all films have in common, from an even sample; of few films less is believed to be common."""
    size = min(_SAMPLE, len(rows))
    sample = rows[np.linspace(0, len(rows) - 1, size).astype(np.int64)]

    shrinkage = np.float32(len(sample) / (len(sample) + _SHRINKAGE))
    return np.mean(_bands(store, sample), axis=0) * shrinkage


@lru_cache(1)
def _weights() -> Features:
    """The band-pass on cosine frequencies: what a film shows between its finest grain and its overall shading."""
    frequency = np.pi * np.arange(_COMPARED) / SIDE
    square = frequency[:, None] ** 2 + frequency[None] ** 2
    without_grain = np.exp(-(_FINEST**2) * square / 2)
    shading = np.exp(-(_COARSEST**2) * square / 2)
    return (without_grain - shading).astype(np.float32)


def _bands(store: ImageStore, rows: Ints) -> Features:
    """Band-passed images at half the side, clipped and of unit contrast."""
    spectrum = np.asarray(dctn(store.images(rows)[:, 0], axes=(1, 2), norm="ortho"))
    weighted = spectrum[:, :_COMPARED, :_COMPARED] * _weights()
    passed = np.asarray(idctn(weighted, axes=(1, 2), norm="ortho"))
    passed = passed.reshape(len(rows), -1)

    # The median of absolute values, as a standard deviation.
    spread = 1.4826 * np.median(np.abs(passed), axis=1, keepdims=True)
    return _unit(np.clip(passed, -_CLIP * spread, _CLIP * spread))


def _relative(bands: Features, mean: Features) -> Features:
    """What a film does not share with all films; an empty image stays 0 and is like nothing."""
    present = bands.any(axis=1, keepdims=True)
    return _unit(np.where(present, bands - mean, np.float32(0)))


def _unit(values: Features) -> Features:
    """Each row divided by its length; a row of almost none becomes 0."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 1e-6)


def _hash(features: Features) -> Features:
    """Signs of the lowest frequencies but the constant one, +1 and -1; equal bits are then a matrix product."""
    images = features.reshape(-1, _COMPARED, _COMPARED)
    spectrum = np.asarray(dctn(images, axes=(1, 2), norm="ortho"))
    low = spectrum[:, :_HASHED, :_HASHED].reshape(len(features), -1)[:, 1:]
    return np.where(low > 0, np.float32(1), np.float32(-1))
