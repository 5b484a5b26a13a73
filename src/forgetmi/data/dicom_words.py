"""Which bits of a stored word are the pixel: as the header says, or as the only reading that makes a picture of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data.decoded import ImageFault
from forgetmi.data.dicom_header import CORRECT

Ints = npt.NDArray[Any]

# A tear is a pair of neighbours that differ by more than half of the film's range; with this share there are many ...
_MANY_TEARS = 0.002
# ... and another reading takes its place where it has so many times fewer, and at most this share.
_TIMES_FEWER = 8
_STILL_WHOLE = 0.01

# Fewer pairs of neighbours than this decide nothing.
_FEWEST_PAIRS = 200

# Pixels below this share may break any rule: defects.
_FEW = 0.001
_FEWEST_VALUES = 16

# Rows, with the one below each, that are compared.
_ROWS = 256


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
    tears = _tears(stated, rows, padded, counts)
    if unexplained == 0 and tears < _MANY_TEARS:
        return stated, ""

    # Another reading must leave nothing over and tear far less.
    best: tuple[float, Cell, str] | None = None
    for cell, notice in _others(stated):
        if not cell.explains(occurring).all() or not _has_sign(cell, stated, occurring, counts):
            continue
        places = _tears(cell, rows, padded, counts)
        if best is None or places < best[0]:
            best = (places, cell, notice)

    if best is not None:
        places, cell, notice = best
        if tears >= _MANY_TEARS and places <= min(tears / _TIMES_FEWER, _STILL_WHOLE):
            return cell, notice
        if unexplained and tears > 0 and places <= tears / _TIMES_FEWER:
            return cell, notice

    if unexplained == 0:
        return stated, ""
    return _left_over(stated, rows, padded, counts, tears, unexplained)


def _left_over(
    stated: Cell, rows: Ints, padded: Ints, counts: Ints, tears: float, unexplained: float
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
    if tears < _MANY_TEARS and _tears(whole, rows, padded, counts) >= max(
        _MANY_TEARS, tears * _TIMES_FEWER
    ):
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
    taken = "was corrected, as its reading tears the picture"

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


def _has_sign(cell: Cell, stated: Cell, occurring: Ints, counts: Ints) -> bool:
    """Whether a change to signed pixels gives many different negative ones, not a single bright one turned black."""
    if not cell.signed or stated.signed:
        return True

    negative = occurring[cell.samples(occurring) < 0]
    times = counts[negative]
    return len(negative) >= _FEWEST_VALUES and times.max() <= times.sum() / 2


def _share(counts: Ints, words: Ints) -> float:
    """How many of all pixels have one of the words."""
    return float(counts[words].sum() / max(1, counts.sum()))


def _compared_rows(words: Ints) -> Ints:
    """A choice of pairs of neighbouring rows, unsigned[k, 2, w]."""
    height = len(words)
    first = np.unique(np.linspace(0, max(0, height - 2), min(height, _ROWS)).astype(np.int64))
    second = np.minimum(first + 1, height - 1)
    return np.stack([words[first], words[second]], axis=1)


def _tears(cell: Cell, rows: Ints, padded: Ints, counts: Ints) -> float:
    """The share of neighbours that differ by more than half of the range of nearly all pixels."""
    # What each word means; the range without a thousandth at each end.
    meaning = cell.samples(np.arange(len(counts)))
    times = np.where(padded, 0, counts)
    order = np.argsort(meaning, kind="stable")
    running = np.cumsum(times[order])
    total = running[-1]
    low = meaning[order][
        np.searchsorted(running, total * _FEW, side="right").clip(max=len(order) - 1)
    ]
    high = meaning[order][np.searchsorted(running, total * (1 - _FEW)).clip(max=len(order) - 1)]
    half = (high - low) / 2
    if half <= 0:
        return 0.0

    values, outside = meaning[rows], padded[rows]
    pairs = 0
    broken = 0
    for near, far in (
        ((slice(None), slice(None), slice(None, -1)), (slice(None), slice(None), slice(1, None))),
        ((slice(None), 0), (slice(None), 1)),
    ):
        inside = ~(outside[near] | outside[far])
        pairs += int(inside.sum())
        broken += int(((np.abs(values[near] - values[far]) > half) & inside).sum())
    return broken / pairs if pairs >= _FEWEST_PAIRS else 0.0
