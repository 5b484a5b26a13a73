"""PNG pictures of 16 bits in colour or with transparency, of which Pillow would keep 8 bits."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from forgetmi.data.decoded import ImageFault
from forgetmi.data.image_bounds import most_bytes, too_many_bytes

Samples = npt.NDArray[np.uint16]

_MARK = b"\x89PNG\r\n\x1a\n"

# Colour type of a PNG header to its channels: colour, grey and alpha, colour and alpha.
_CHANNELS = {2: 3, 4: 2, 6: 4}

# Adam7: first column, first row, step across and step down of each of the seven passes.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def is_deep_colour(data: bytes) -> bool:
    """Whether a file is a PNG of 16 bits with more than one channel."""
    return data.startswith(_MARK) and data[24:25] == b"\x10" and data[25] in _CHANNELS


def check_deep_size(data: bytes) -> None:
    """Refuse a PNG of 16 bits with several channels that inflates to more bytes than allowed, before it is decoded.

    Args:
        data: The file, of which `is_deep_colour` holds.

    Raises:
        ImageFault: It does.
    """
    width, height = struct.unpack(">II", data[16:24])
    if 2 * _CHANNELS[data[25]] * width * height > most_bytes():
        raise too_many_bytes("inflates to")


def deep_samples(data: bytes) -> tuple[Samples, Samples | None]:
    """All 16 bits of a PNG of several channels.

    A PNG's filters work on each byte of a pixel by itself. So the bytes of each channel are written as grey pictures of
    8 bits, which Pillow decodes, and are put together again.

    Args:
        data: The file, of at most the allowed pixels.

    Returns:
        Colours uint16[h, w, 1 or 3], and the alpha channel uint16[h, w] where there is one.

    Raises:
        ImageFault: The file is damaged.

    Source: PNG specification (W3C), third edition, sections 8 (interlacing) and 9 (filters).
    """
    width, height = struct.unpack(">II", data[16:24])
    interlaced = data[28] == 1
    channels = _CHANNELS[data[25]]
    lanes = 2 * channels

    # The filtered rows of all passes.
    passes = list(_passes(width, height, interlaced=interlaced))
    expected = sum(rows * (1 + columns * lanes) for rows, columns in passes)
    inflater = zlib.decompressobj()
    filtered = np.frombuffer(inflater.decompress(_image_data(data), expected), np.uint8)
    if len(filtered) < expected:
        raise ImageFault("the image is truncated or damaged", "its pixels end early")

    # High and low byte of each channel.
    planes = []
    for lane in range(lanes):
        rows = _lane(filtered, passes, lane, lanes)
        planes.append(_grey_picture(rows, width, height, interlaced=interlaced))
    high, low = planes[0::2], planes[1::2]
    values = [(one.astype(np.uint16) << 8) | two for one, two in zip(high, low, strict=True)]

    # The last of two or four channels is alpha.
    alpha = values.pop() if channels in (2, 4) else None
    return np.stack(values, axis=2), alpha


def _passes(width: int, height: int, *, interlaced: bool) -> Iterator[tuple[int, int]]:
    """Rows and columns of each pass that has pixels."""
    if not interlaced:
        yield height, width
        return

    for left, top, across, down in _PASSES:
        rows, columns = -(-(height - top) // down), -(-(width - left) // across)
        if rows > 0 and columns > 0:
            yield rows, columns


def _image_data(data: bytes) -> bytes:
    """The compressed pixels of all IDAT chunks, whose checksums are compared."""
    parts = []
    start = len(_MARK)
    while start + 12 <= len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        kind, body = data[start + 4 : start + 8], data[start + 8 : start + 8 + length]
        checksum = data[start + 8 + length : start + 12 + length]
        if kind == b"IDAT":
            if zlib.crc32(kind + body).to_bytes(4, "big") != checksum:
                raise ImageFault("the image is truncated or damaged", "a checksum does not fit")
            parts.append(body)
        start += 12 + length
    return b"".join(parts)


def _lane(
    filtered: npt.NDArray[np.uint8], passes: list[tuple[int, int]], lane: int, lanes: int
) -> bytes:
    """The filtered rows of one byte of each pixel."""
    parts = []
    start = 0
    for rows, columns in passes:
        end = start + rows * (1 + columns * lanes)
        part = filtered[start:end].reshape(rows, 1 + columns * lanes)
        parts.append(np.hstack([part[:, :1], part[:, 1 + lane :: lanes]]).tobytes())
        start = end
    return b"".join(parts)


def _grey_picture(
    rows: bytes, width: int, height: int, *, interlaced: bool
) -> npt.NDArray[np.uint8]:
    """The filtered rows of an 8-bit grey PNG, decoded."""
    from PIL import Image

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, int(interlaced))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    file = io.BytesIO(_MARK)
    file.seek(0, io.SEEK_END)
    for kind, body in chunks:
        checksum = zlib.crc32(kind + body)
        file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum))

    file.seek(0)
    with Image.open(file, formats=("PNG",)) as image:
        return np.asarray(image)
