"""Compressed pixels of a DICOM file: what they really are, and whether their size is the header's."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import islice
from typing import Any

from forgetmi.data.decoded import ImageFault
from forgetmi.data.image_bounds import check_size

_ITEM = b"\xfe\xff\x00\xe0"
_J2K, _JPEG = b"\xff\x4f\xff\x51", b"\xff\xd8"

# The frame headers of JPEG: all SOF markers but the tables C4, C8 and CC, and that of JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}

_MOST_BOX_BYTES = 4096

# Most parts of a compressed image.
_MOST_FRAGMENTS = 100_000

_BYTE = 8


@dataclass(frozen=True)
class Stream:
    """What a compressed image says of itself.

    Args:
        family: "JPEG", "JPEG-LS", "JPEG 2000" or "RLE".
        uid: The transfer syntax it can be stored under.
        height, width: Pixels; 0 = it does not say.
        bits, samples: Bits of a sample, and samples of a pixel; 0 = it does not say.
        signed: Whether it says that samples have a sign, as JPEG 2000 alone can.
    """

    family: str
    uid: str
    height: int = 0
    width: int = 0
    bits: int = 0
    samples: int = 0
    signed: bool = False


def is_encapsulated(image: Any) -> bool:
    """Whether the pixels are stated to be compressed."""
    return bool(image.file_meta.TransferSyntaxUID.is_encapsulated)


def sniffed_syntax(image: Any) -> str:
    """Correct a transfer syntax that says compressed of plain pixels, plain of compressed ones, or another compression.

    Args:
        image: The data set.

    Returns:
        What was corrected, in words; "" where nothing was.

    Raises:
        ImageFault: The pixels are not what the transfer syntax says, and nothing else that is known.
    """
    from pydicom.uid import UID, ExplicitVRLittleEndian

    syntax = image.file_meta.TransferSyntaxUID
    plain_length = image.Rows * image.Columns * image.SamplesPerPixel * image.BitsAllocated // 8
    in_items = image.PixelData.startswith(_ITEM)

    if syntax.is_encapsulated and not in_items:
        if len(image.PixelData) not in (plain_length, plain_length + 1):
            raise ImageFault(
                "the DICOM image's pixels are not compressed as TransferSyntaxUID says",
                "PixelData has no items, and not the length of plain pixels either",
            )
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return "TransferSyntaxUID says compressed, PixelData is not: read as it is"

    # Plain pixels may begin like an item by chance.
    if not syntax.is_encapsulated and (not in_items or len(image.PixelData) == plain_length):
        return ""
    if not syntax.is_encapsulated and not image["PixelData"].is_undefined_length:
        return ""

    found = stream_of(image)
    if found is None or (syntax.is_encapsulated and _family(syntax) in ("", found.family)):
        return ""
    image.file_meta.TransferSyntaxUID = UID(found.uid)
    return f"TransferSyntaxUID is wrong, PixelData is {found.family}: read as that"


def check_codestream(image: Any) -> str:
    """Compare the header with what the compressed pixels say of themselves, before they are decoded.

    Args:
        image: The data set; its bits are set to those of the compressed image.

    Returns:
        What was corrected, in words; "" where nothing was.

    Raises:
        ImageFault: There are several frames, or the size, the samples or the bits differ.
    """
    frames = _frames(image)
    if frames > 1:
        raise ImageFault(
            "the DICOM file holds several frames",
            f"PixelData has {frames}, NumberOfFrames does not say so",
            "Store each radiograph as a file of its own.",
        )

    found = stream_of(image)
    if found is None or not found.bits:
        return ""

    check_size(found.height, found.width)
    if (found.height, found.width) != (image.Rows, image.Columns):
        raise _contradiction(
            "Rows and Columns",
            f"{image.Rows} x {image.Columns}, the compressed image is {found.height} x {found.width}",
        )
    if found.samples != image.SamplesPerPixel:
        raise _contradiction(
            "SamplesPerPixel", f"{image.SamplesPerPixel}, the compressed image has {found.samples}"
        )
    if found.bits > image.BitsAllocated:
        raise _contradiction(
            "BitsAllocated", f"{image.BitsAllocated}, the compressed image has {found.bits} bits"
        )

    # The compressed image knows its bits: what the header has of them would only mislead the decoder.
    image.BitsStored = found.bits
    image.HighBit = found.bits - 1
    if found.bits > _BYTE or image.BitsAllocated == _BYTE:
        return ""
    image.BitsAllocated = _BYTE
    return "BitsAllocated read as 8, as the compressed image has"


def stream_of(image: Any) -> Stream | None:
    """What the first fragment of compressed pixels says of itself; None where it is of no known kind."""
    from pydicom.uid import RLELossless

    fragments = _fragments(image)
    first = fragments[0] if fragments else b""

    at = first.find(_J2K, 0, _MOST_BOX_BYTES)
    if at >= 0:
        return _jpeg_2000(first[at:])
    if first.startswith(_JPEG):
        return _jpeg(first)

    # RLE begins with the number of its segments and where the first one starts.
    if len(first) >= 64:
        segments, offset = struct.unpack("<II", first[:8])
        if 1 <= segments <= 15 and offset == 64:
            return Stream("RLE", RLELossless)
    return None


def codestream(image: Any) -> bytes:
    """The whole of a JPEG 2000 image, without the boxes before it; b"" where there is none."""
    whole = b"".join(_fragments(image))
    at = whole.find(_J2K, 0, _MOST_BOX_BYTES)
    return whole[at:] if at >= 0 else b""


def _jpeg_2000(stream: bytes) -> Stream | None:
    from pydicom.uid import JPEG2000

    # Size of the reference grid and offset of the image on it; samples and their bits (ISO 15444-1, A.5.1).
    if len(stream) < 43:
        return None
    right, lower, left, upper = struct.unpack(">IIII", stream[8:24])
    (samples,) = struct.unpack(">H", stream[40:42])
    bits, signed = (stream[42] & 0x7F) + 1, bool(stream[42] & 0x80)
    height, width = max(0, lower - upper), max(0, right - left)
    return Stream("JPEG 2000", JPEG2000, height, width, bits, samples, signed)


def _jpeg(stream: bytes) -> Stream | None:
    from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless

    # From marker to marker until the frame header.
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker in _FRAMES:
            bits, height, width, samples = struct.unpack(">BHHB", stream[at + 4 : at + 10])
            if marker == 0xF7:
                return Stream("JPEG-LS", JPEGLSLossless, height, width, bits, samples)
            lossless = marker in (0xC3, 0xC7, 0xCB, 0xCF)
            lossy = JPEGBaseline8Bit if marker == 0xC0 else JPEGExtended12Bit
            uid = JPEGLosslessSV1 if lossless else lossy
            return Stream("JPEG", uid, height, width, bits, samples)
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _family(syntax: Any) -> str:
    """The family of a compression; "" where it is none of these."""
    name = syntax.name
    for family in ("JPEG-LS", "JPEG 2000", "RLE", "JPEG"):
        if family in name.replace("JPEG2000", "JPEG 2000"):
            return family
    return ""


def _fragments(image: Any) -> list[bytes]:
    """The items of compressed pixels without the offset table."""
    from pydicom.encaps import generate_fragments

    items = list(islice(generate_fragments(image.PixelData), _MOST_FRAGMENTS + 1))
    if len(items) > _MOST_FRAGMENTS:
        raise ImageFault("PixelData of the DICOM image has far more parts than an image")
    return items[1:]


def _frames(image: Any) -> int:
    """How many frames the compressed pixels hold: by the offset table, or by the items that begin an image."""
    # The first item is the table, 4 bytes a frame.
    offsets = int.from_bytes(image.PixelData[4:8], "little") // 4
    if offsets > 1:
        return offsets

    # Without a table every fragment that begins an image is a frame; RLE has one fragment a frame.
    fragments = [fragment for fragment in _fragments(image) if fragment]
    starts = [one for one in fragments if one.startswith((_J2K, b"\xff\xd8\xff"))]
    if _family(image.file_meta.TransferSyntaxUID) == "RLE":
        starts = fragments
    return max(1, len(starts))


def _contradiction(elements: str, numbers: str) -> ImageFault:
    return ImageFault(
        f"{elements} of the DICOM image contradict its pixels",
        numbers,
        "Correct the element or export the image again, or leave its row out.",
    )
