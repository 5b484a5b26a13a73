"""Reads one radiograph from a DICOM file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data import dicom_file
from forgetmi.data.decoded import Decoded, ImageFault, joined
from forgetmi.data.dicom_codestream import is_encapsulated, stream_of
from forgetmi.data.dicom_grey import grey_values
from forgetmi.data.dicom_header import GREY, check_header
from forgetmi.data.dicom_levels import reduce
from forgetmi.data.dicom_words import Cell, fitting_cell, in_fitting_shape, stated_cell
from forgetmi.data.grey import LUMA, TO_GREY, by_maximum
from forgetmi.data.window import RELEASED

_RLE = "RLE"

# Pixels that are counted and looked up at a time.
_BLOCK = 2**18


def read_dicom(
    data: bytes, *, window: str, invert: bool, enough: tuple[int, bool] | None = None
) -> Decoded:
    """One DICOM image as grey values.

    Args:
        data: The file's bytes.
        window: "first", a window's number, "none", or "released" (stored values by their own maximum).
        invert: Whether a negative becomes a positive.
        enough: Side of the image that is wanted, and whether that is its longest; then coarser levels may be decoded
            (`forgetmi.data.dicom_levels.reduce`). None = all pixels.

    Raises:
        ImageFault: It is damaged, contradicts itself, or holds no single film of 8 to 16 bits.
    """
    try:
        image, encoding = dicom_file.parse(data)
        corrected = joined(encoding, check_header(image))
        if window == RELEASED:
            decoded = _as_released(image, invert=invert)
        elif image.PhotometricInterpretation in GREY:
            if enough is not None:
                side, longest = enough
                reduced = reduce(image, side=side, longest=longest, window=window)
                corrected = joined(corrected, reduced)
            decoded = _film(image, window=window, invert=invert)
        else:
            decoded = by_maximum(_pixels(image) @ LUMA, TO_GREY)
    except (ImageFault, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - decoders raise anything; one in Rust raises no Exception
        raise ImageFault(
            "the DICOM file is truncated or damaged, or its pixels do not fit its header",
            type(error).__name__,
        ) from None
    return replace(decoded, notice=joined(corrected, decoded.notice))


def _as_released(image: Any, *, invert: bool) -> Decoded:
    """Stored values divided by their own maximum, as in the published pipeline; nothing in the header counts."""
    pixels = _pixels(image)
    decoded = by_maximum(pixels @ LUMA, TO_GREY) if pixels.ndim == 3 else by_maximum(pixels)
    if invert and image.PhotometricInterpretation == "MONOCHROME1":
        return Decoded(np.float32(1) - decoded.pixels, decoded.notice, inverted=True)
    return decoded


def _film(image: Any, *, window: str, invert: bool) -> Decoded:
    """A grey film, by what its header says of its values."""
    stated, wrong = stated_cell(image)
    words = _words(image)
    counts = np.zeros(2**stated.allocated, np.int64)
    for block in _blocks(words):
        counts += np.bincount(block.ravel(), minlength=len(counts))

    # Which bits of a word are the pixel.
    padded = _padding(image, stated)
    cell, corrected = fitting_cell(words, counts, padded, stated)
    image.BitsStored = cell.stored
    image.PixelRepresentation = int(cell.signed)
    words, exchanged = in_fitting_shape(words, cell.samples(np.arange(len(counts), dtype=np.int32)))

    # Each word that occurs becomes a grey value; each pixel is looked up.
    occurring = np.flatnonzero(counts)
    grey = grey_values(
        image,
        cell.samples(occurring),
        counts[occurring],
        padded[occurring],
        window=window,
        invert=invert,
    )
    table = np.zeros(len(counts), np.float32)
    table[occurring] = grey.values
    pixels = np.empty(words.shape, np.float32)
    for block, place in zip(_blocks(words), _blocks(pixels), strict=True):
        np.take(table, block, out=place, mode="clip")
    return Decoded(pixels, joined(wrong, corrected, exchanged, grey.notice), grey.inverted)


def _blocks(array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """The rows in parts that fit a processor's cache: numpy makes numbers of 8 bytes of them on the way."""
    rows = max(1, _BLOCK // array.shape[1])
    return [array[start : start + rows] for start in range(0, len(array), rows)]


def _words(image: Any) -> npt.NDArray[Any]:
    """Whole words, unsigned[h, w], whatever the header says of their bits."""
    stored, high, sign = image.BitsStored, image.HighBit, image.PixelRepresentation
    compressed = is_encapsulated(image) and _RLE not in image.file_meta.TransferSyntaxUID.name

    # A decoder of compressed pixels needs the true bits; otherwise none may be cut off. Nor may it give numbers a sign
    # that they have in the header alone.
    stream = stream_of(image) if compressed else None
    if not compressed:
        image.BitsStored = image.BitsAllocated
        image.HighBit = image.BitsAllocated - 1
    if stream is None or not stream.signed:
        image.PixelRepresentation = 0
    pixels = _pixels(image)
    image.BitsStored, image.HighBit, image.PixelRepresentation = stored, high, sign
    return pixels.astype(f"u{image.BitsAllocated // 8}", copy=False)


def _pixels(image: Any) -> npt.NDArray[Any]:
    from pydicom.pixels.utils import pixel_array

    return np.asarray(pixel_array(image))


def _padding(image: Any, stated: Cell) -> npt.NDArray[np.bool_]:
    """Which words are padding, bool[2 ** allocated]: one value, or a range of them."""
    words = np.arange(2**stated.allocated)
    value = image.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(len(words), dtype=bool)
    limit = image.get("PixelPaddingRangeLimit")
    ends = (value, limit if isinstance(limit, int) else value)

    # The value may be written with or without its sign, and padding may use bits that the film does not.
    whole = replace(stated, stored=stated.allocated, high=stated.allocated - 1)
    folded = whole.samples(np.array(ends) & (2**stated.allocated - 1))
    low, high = folded.min(), folded.max()
    padded = np.zeros(len(words), dtype=bool)
    for reading in (whole, stated):
        values = reading.samples(words)
        padded |= (values >= low) & (values <= high)
    return padded
