"""JPEG 2000 at the resolution that is needed: of a large film for a small model only the coarse levels are decoded."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data.dicom_codestream import Stream, codestream, is_encapsulated, stream_of
from forgetmi.data.window import NONE

# How often the side that is wanted goes into the side that is decoded, at least.
_MARGIN = 2

# Each level rounds: of films with fewer bits that shows.
_FEWEST_BITS = 10

_FAMILY = "JPEG 2000"

# Markers of a codestream (ISO 15444-1, annex A): coding style, start of a tile part.
_CODING, _TILE = b"\xff\x52", b"\xff\x90"
_SIZE_END = 4
_DEEPEST = 32


def reduce(image: Any, *, side: int, longest: bool, window: str) -> str:
    """Replace the compressed pixels of a film by plain ones of fewer rows and columns, where that suffices.

    The mean difference of the grey values of the prepared image to those from the whole film is at most .002, that of
    999 pixels in 1,000 at most .05 (`tests/data/test_dicom_levels.py`).

    Args:
        image: The data set, checked; its pixels, size and transfer syntax are replaced.
        side: Side of the image that is wanted, pixels.
        longest: Whether that is the longest side; else the shortest.
        window: As for `forgetmi.data.decode.read_image`.

    Returns:
        What was done, in words; "" where the film is decoded whole: it is not JPEG 2000 of 10 bits or more without
        signs, is not that large, has padding (whose value would mix with the film's), or has no window (its brightest
        pixels give the grey values then, and coarse levels smooth them).

    Raises:
        Exception: Whatever Pillow raises on damaged pixels.
    """
    from pydicom.uid import ExplicitVRLittleEndian

    stream = stream_of(image) if is_encapsulated(image) else None
    if stream is None or window == NONE or not _suits(image, stream):
        return ""

    # So many times the sides can be halved
    sides = (stream.height, stream.width)
    whole = max(sides) if longest else min(sides)
    pixels = codestream(image)
    most = _levels(pixels)
    halvings = 0
    while halvings < most and whole >> (halvings + 1) >= _MARGIN * side:
        halvings += 1
    if not halvings:
        return ""

    words = _centred(_decoded(pixels, stream, halvings), sides, halvings)
    image.Rows, image.Columns = words.shape
    image.PixelData = words.astype(f"<u{image.BitsAllocated // 8}").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return f"JPEG 2000 decoded at 1/{2**halvings} of its resolution"


def _suits(image: Any, stream: Stream) -> bool:
    """Whether coarse levels of a film can stand for it."""
    plain = stream.family == _FAMILY and stream.samples == 1 and not stream.signed
    has_window = "WindowCenter" in image or "VOILUTSequence" in image
    return (
        plain
        and _FEWEST_BITS <= stream.bits <= 16
        and has_window
        and "PixelPaddingValue" not in image
    )


def _levels(pixels: bytes) -> int:
    """How often a codestream can be halved; 0 where it does not say."""
    # From marker to marker until the first tile
    at = 2
    while at + _SIZE_END <= len(pixels):
        marker = pixels[at : at + 2]
        if marker == _TILE or marker[:1] != b"\xff":
            return 0
        if marker == _CODING and at + 10 <= len(pixels):
            return min(pixels[at + 9], _DEEPEST)
        at += 2 + int.from_bytes(pixels[at + 2 : at + 4], "big")
    return 0


def _decoded(pixels: bytes, stream: Stream, halvings: int) -> npt.NDArray[Any]:
    """The stored values of a coarser level, int[h, w]."""
    from PIL import Image

    with Image.open(io.BytesIO(pixels)) as opened:
        picture: Any = opened
        picture.reduce = halvings
        picture.load()
        values = np.asarray(picture)

    # Pillow widens values of 9 to 15 bits to 16
    return values >> (16 - stream.bits) if values.dtype.itemsize > 1 else values


def _centred(
    values: npt.NDArray[Any], sides: tuple[int, int], halvings: int
) -> npt.NDArray[np.float32]:
    """Values at the centres of equal parts of the film, between those of a coarser level.

    A level has the values of every second, fourth, ... pixel from the first on: not of the centres of as many parts.
    """
    height, width = sides
    moved = _between(values.astype(np.float32), height, halvings)
    return np.rint(_between(moved.T, width, halvings).T)


def _between(values: npt.NDArray[np.float32], side: int, halvings: int) -> npt.NDArray[np.float32]:
    """As many rows at equal distances over a film of ``side`` rows."""
    parts = len(values)
    centres = (np.arange(parts) + 0.5) * (side / parts) - 0.5
    rows = (centres / 2**halvings).clip(0, parts - 1)

    before = np.floor(rows).astype(np.int64)
    after = np.minimum(before + 1, parts - 1)
    share = (rows - before).astype(np.float32)[:, None]
    return (1 - share) * values[before] + share * values[after]
