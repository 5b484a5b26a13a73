"""Which bits of a stored word are the pixel: as the header says, or as the only reading that makes a picture of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data.decoded import ImageFault
from forgetmi.data.dicom_header import CORRECT

Ints = npt.NDArray[Any]

# A tear is a pair of neighbours that differ by more than half of the film's range. A reading is worse than another one
# if it has this many tears more, in number and as a share of the pairs, and this many times as many.
_TEARS_MORE = 20
_SHARE_MORE = 0.0005
_TIMES_MORE = 3

# Where a reading tears, a fifth of the right one's steps are at most this many times as long as its median step; the
# others may be the edges of bones and letters.
_FIFTH = 0.2
_SMOOTH = 4

# An overlay in the other bits tears the whole words this many times as much.
_TIMES_OVERLAY = 2

# Rows and columns were exchanged where that makes the steps from row to row this many times smaller.
_TIMES_EXCHANGED = 2
_FEWEST_ROWS = 16

# Pixels below this share may break any rule: defects. Those of either sign must have this share to speak for it.
_FEW = 0.001
_FEWEST_OF_A_SIGN = 0.05
_FEWEST_VALUES = 16

# Rows, with the one below each, that are compared.
_ROWS = 64


@dataclass(frozen=True)
class Cell:
    """Where in a word the pixel lies.

    Args:
        allocated: Bits of a word, 8 or 16.
        stored: Bits of the pixel.
        high: Its highest bit, counted from 0.
        signed: Whether it is in two's complement.
        swapped: Whether the two bytes of the word are exchanged.
    """

    allocated: int
    stored: int
    high: int
    signed: bool
    swapped: bool = False

    def samples(self, words: Ints) -> Ints:
        """The pixels of words, int64[n] to int64[n]."""
        if self.swapped:
            words = ((words & 0xFF) << 8) | (words >> 8)

        values = (words >> (self.high + 1 - self.stored)) & ((1 << self.stored) - 1)
        if self.signed:
            sign = 1 << (self.stored - 1)
            values = (values ^ sign) - sign
        return values

    def explains(self, words: Ints) -> npt.NDArray[np.bool_]:
        """Whether the other bits of each word are empty, or continue the sign."""
        if self.swapped:
            words = ((words & 0xFF) << 8) | (words >> 8)

        cell = ((1 << self.stored) - 1) << (self.high + 1 - self.stored)
        empty = (words & ~cell) == 0
        if not self.signed:
            return empty

        # The bits above a negative value are ones.
        continued = (self.samples(words) & ((1 << self.allocated) - 1)) == words
        return empty | (continued & (self.high + 1 == self.stored))


def stated_cell(image: Any) -> tuple[Cell, str]:
    """The header's cell; where it cannot be one, the whole word, with a notice."""
    allocated, stored, high = image.BitsAllocated, image.BitsStored, image.HighBit
    signed = image.PixelRepresentation == 1
    if 1 <= stored <= allocated and stored - 1 <= high < allocated:
        return Cell(allocated, stored, high, signed), ""

    # The only place that the standard knows.
    if 1 <= stored <= allocated:
        return Cell(allocated, stored, stored - 1, signed), "HighBit is wrong: BitsStored was taken"
    whole = Cell(allocated, allocated, allocated - 1, signed)
    return whole, "BitsStored is wrong: BitsAllocated was taken"


def fitting_cell(words: Ints, counts: Ints, padded: Ints, stated: Cell) -> tuple[Cell, str]:
    """The reading of words that makes a picture of them.

    The stated one stands wherever it leaves no bit over and does not tear the picture. Otherwise the bytes exchanged,
    the other sign, the whole word and the lowest bits are tried.

    Args:
        words: unsigned[h, w], whole words.
        counts: int[2 ** allocated], how often each word occurs.
        padded: bool[2 ** allocated], words that are padding.
        stated: The header's reading.

    Returns:
        The reading, and which elements it corrects, in words; "" where it is the header's.

    Raises:
        ImageFault: The header's reading leaves bits over, and no reading is clearly right.
    """
    occurring = np.flatnonzero((counts > 0) & ~padded)
    rows = _compared_rows(words)
    unexplained = _share(counts, occurring[~stated.explains(occurring)])
    steps = _steps(stated, rows, padded)
    torn_at = steps > _half_range(stated, padded, counts)
    tears = int(torn_at.sum())
    enough = max(_TEARS_MORE, _SHARE_MORE * len(steps))
    if unexplained == 0 and tears < enough:
        return stated, ""

    # Another reading must leave nothing over, tear far less, and be smooth where this one tears (unless bits left over
    # show already that this one is wrong).
    fewest, best, notice = tears, stated, ""
    for cell, correction in _others(stated) if tears else []:
        if not cell.explains(occurring).all() or not _may_change(cell, stated, occurring, counts):
            continue
        other = _steps(cell, rows, padded)
        found = int((other > _half_range(cell, padded, counts)).sum())
        smooth = np.quantile(other[torn_at], _FIFTH) <= _SMOOTH * max(1, np.median(other))
        if found < fewest and (smooth or unexplained):
            fewest, best, notice = found, cell, correction

    if tears - fewest >= enough and tears >= _TIMES_MORE * fewest:
        return best, notice
    if unexplained == 0:
        return stated, ""
    return _left_over(stated, rows, padded, counts, tears, unexplained)


def in_fitting_shape(words: Ints, meaning: Ints) -> tuple[Ints, str]:
    """The picture with rows and columns exchanged, where only that makes one row continue the row above.

    Args:
        words: unsigned[h, w].
        meaning: int32[2 ** allocated], what each word means.

    Returns:
        The words in the shape that fits, and what was corrected, in words.
    """
    height, width = words.shape
    if height == width or min(height, width) < _FEWEST_ROWS:
        return words, ""

    exchanged = words.reshape(width, height)
    above, exchanged_above = _row_steps(meaning, words), _row_steps(meaning, exchanged)
    along = np.take(meaning, _compared_rows(words)[:, 0], mode="clip")
    beside = float(np.abs(np.diff(along, axis=1)).mean())
    if above > _TIMES_EXCHANGED * max(exchanged_above, beside):
        return exchanged, "Rows and Columns were exchanged: as stated they shear the picture"
    return words, ""


def _row_steps(meaning: Ints, words: Ints) -> float:
    """The mean difference between a pixel and the one below."""
    rows = np.take(meaning, _compared_rows(words), mode="clip")
    return float(np.abs(rows[:, 1] - rows[:, 0]).mean())


def _left_over(
    stated: Cell, rows: Ints, padded: Ints, counts: Ints, tears: int, unexplained: float
) -> tuple[Cell, str]:
    """The reading where bits are left over and no other one is better."""
    # All pixels lie in the lowest bits: the header only names another place.
    occurring = np.flatnonzero((counts > 0) & ~padded)
    lowest = replace(stated, high=stated.stored - 1)
    if lowest != stated and lowest.explains(occurring).all():
        return lowest, "HighBit was corrected, as the bits that it names are empty"

    # Few pixels: defects, whose whole value lies far outside the film.
    whole = Cell(stated.allocated, stated.allocated, stated.allocated - 1, stated.signed)
    explained = occurring[stated.explains(occurring)]
    same = np.array_equal(whole.samples(explained), stated.samples(explained))
    if unexplained <= _FEW and same:
        return whole, "a few pixels exceed BitsStored"

    # A picture whose other bits hold something else, such as an overlay.
    of_whole = int((_steps(whole, rows, padded) > _half_range(whole, padded, counts)).sum())
    if of_whole >= max(_TEARS_MORE, _TIMES_OVERLAY * tears):
        return stated, "bits outside BitsStored and HighBit left out"

    raise ImageFault(
        "BitsStored and HighBit of the DICOM image contradict its pixels",
        f"{stated.stored} bits up to bit {stated.high}, but other bits of PixelData are in use",
        CORRECT,
    )


def _others(stated: Cell) -> list[tuple[Cell, str]]:
    """Other readings, those that correct least first, each with what it corrects."""
    bits = stated.allocated
    other_sign = replace(stated, signed=not stated.signed)
    lowest = replace(stated, high=stated.stored - 1)
    whole = Cell(bits, bits, bits - 1, stated.signed)
    taken = "was corrected: as stated it tears the picture"

    others = [
        (other_sign, f"PixelRepresentation {taken}"),
        (lowest, f"HighBit {taken}"),
        (replace(whole, signed=False), f"BitsStored {taken}"),
        (replace(whole, signed=True), f"BitsStored {taken}"),
    ]
    if bits == 16:
        swapped = replace(stated, swapped=True)
        others.append((swapped, f"the byte order (TransferSyntaxUID) {taken}"))
    return [(cell, notice) for cell, notice in others if cell != stated]


def _may_change(cell: Cell, stated: Cell, occurring: Ints, counts: Ints) -> bool:
    """Whether the sign stays, or has many different values on both sides: no single bright one, no drawing."""
    if cell.signed == stated.signed:
        return True

    signed = replace(cell, signed=True).samples(occurring)
    for half in (occurring[signed < 0], occurring[signed >= 0]):
        if len(half) < _FEWEST_VALUES or _share(counts, half) < _FEWEST_OF_A_SIGN:
            return False
        if counts[half].max() > counts[half].sum() / 2:
            return False
    return True


def _share(counts: Ints, words: Ints) -> float:
    """How many of all pixels have one of the words."""
    return float(counts[words].sum() / max(1, counts.sum()))


def _compared_rows(words: Ints) -> Ints:
    """A choice of pairs of neighbouring rows, unsigned[k, 2, w]."""
    height = len(words)
    first = np.unique(np.linspace(0, max(0, height - 2), min(height, _ROWS)).astype(np.int64))
    second = np.minimum(first + 1, height - 1)
    return np.stack([words[first], words[second]], axis=1)


def _half_range(cell: Cell, padded: Ints, counts: Ints) -> float:
    """Half of the range of nearly all pixels: a thousandth at each end does not count."""
    meaning = cell.samples(np.arange(len(counts)))
    lowest = int(meaning.min())
    running = np.cumsum(np.bincount(meaning - lowest, weights=np.where(padded, 0, counts)))

    last = len(running) - 1
    low = np.searchsorted(running, running[-1] * _FEW, side="right").clip(max=last)
    high = np.searchsorted(running, running[-1] * (1 - _FEW)).clip(max=last)
    return max(1.0, float(high - low) / 2)


def _steps(cell: Cell, rows: Ints, padded: Ints) -> Ints:
    """How much neighbours differ, to the right and down; 0 where one of them is padding."""
    meaning = cell.samples(np.arange(len(padded), dtype=np.int32))
    values = np.take(meaning, rows, mode="clip")

    beside = np.abs(np.diff(values, axis=2))
    below = np.abs(values[:, 1] - values[:, 0])
    if padded.any():
        outside = padded[rows]
        beside[outside[:, :, 1:] | outside[:, :, :-1]] = 0
        below[outside[:, 0] | outside[:, 1]] = 0
    return np.concatenate([beside.ravel(), below.ravel()])
