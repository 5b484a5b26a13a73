"""What is odd about an image's grey values, in words: blank, nearly so, or in a small part of the range."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BLANK = "a blank image: all pixels are equal"
COARSE = "the stored values use less than a hundredth of the range that their bits allow"
COLLAPSED = (
    "the film uses less than a hundredth of the grey range: its values are hardly told apart"
)
CUT_OFF = "hardly any of the film lies inside the window of the file"

# A film that uses less of the grey range than one of these is noticed, with the first that it stays below.
_SMALL_SHARES = ((0.01, "a hundredth"), (0.05, "a twentieth"), (0.1, "a tenth"))

# An empty stretch of the range as long as this separates a film from what does not belong to it.
_FAR = 0.8

# Fewer different values than this are a drawing or a mask, not a film.
_FEWEST_VALUES = 16

_LEVELS = 65_536


def remark(values: npt.NDArray[Any], counts: npt.NDArray[Any]) -> str:
    """What is odd about an image's grey values, in words; "" where nothing is.

    Use it on every decoded image: a blank film, one in a small part of the range, and one that a few far brighter or
    darker pixels (a defect, an undeclared border) push into a small part of it all decode without an error.

    Args:
        values: float[m], the grey values that occur, in [0, 1], in any order.
        counts: int[m], in how many pixels each occurs.

    Returns:
        One sentence without numbers of the file, so that equal oddities can be counted.
    """
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    shown, times = np.asarray(values, np.float64)[order], counts[order]
    if len(shown) == 0 or shown[0] == shown[-1]:
        return BLANK

    # A film in a small part of the range.
    share = _small_share(shown[-1] - shown[0])
    if share:
        return f"the film uses less than {share} of the grey range"

    # A film beside pixels that lie far from it: the longest empty stretch parts the two.
    gaps = np.diff(shown)
    gap = int(np.argmax(gaps))
    if gaps[gap] < _FAR:
        return ""
    below, above = slice(0, gap + 1), slice(gap + 1, None)
    film = below if times[below].sum() >= times[above].sum() else above
    if len(shown[film]) < _FEWEST_VALUES:
        return ""

    share = _small_share(shown[film][-1] - shown[film][0]) or "a fifth"
    return f"the film uses less than {share} of the grey range, as other pixels lie far outside it"


def remark_on(pixels: npt.NDArray[Any]) -> str:
    """What is odd about an image of 8- or 16-bit integers or of floats in [0, 1]; see `remark`.

    Args:
        pixels: uint8, uint16 or float[h, w].
    """
    # Floats are told apart as finely as they are stored.
    words = pixels
    if pixels.dtype.kind == "f":
        words = np.rint(pixels * np.float32(_LEVELS - 1)).astype(np.uint16)
    white = 255 if words.dtype == np.uint8 else max(1, int(words.max(initial=0)))
    if pixels.dtype.kind == "f":
        white = _LEVELS - 1

    counts = np.bincount(words.ravel())
    occurring = np.flatnonzero(counts)

    # Values that differ, but not as they are stored.
    if pixels.dtype.kind == "f" and len(occurring) <= 2 < len(np.unique(pixels)):
        return COLLAPSED
    return remark(occurring / white, counts[occurring])


def coarse(lowest: float, highest: float, bits: int) -> str:
    """Whether stored values are spread over the whole grey range though they use hardly any of their bits, in words.

    Args:
        lowest, highest: Smallest and largest stored value.
        bits: Bits of a stored value.
    """
    used = float(highest) - float(lowest)
    return COARSE if 0 < used < _SMALL_SHARES[0][0] * (2**bits - 1) else ""


def _small_share(used: float) -> str:
    """The share that a used part of the range stays below, in words; "" where it is no small one."""
    for share, words in _SMALL_SHARES:
        if used < share:
            return words
    return ""
