"""Parses a DICOM file: only the elements that its pixels need, in the encoding it really has, inflated in bounds."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from forgetmi.core.regular_file import open_regular
from forgetmi.data.decoded import ImageFault
from forgetmi.data.image_bounds import most_bytes, too_many_bytes
from forgetmi.data.image_content import GZIP, HEAD, marks_dicom, read_content

# How pixels are stored, and the pixels
PIXEL_TAGS: list[Any] = [
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
]

# What their values mean
MEANING_TAGS: list[Any] = [
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PresentationLUTShape",
]

# Nothing else is parsed: no name, number or date of a patient is ever read.
TAGS = [*PIXEL_TAGS, *MEANING_TAGS]

# Most readings of a file's header: an element takes two or three, and an image has some hundred elements. The sequences
# that are parsed have an item or a few.
_MOST_READINGS = 100_000
_MOST_ITEMS = 1000
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")

_DISC_INDEX = "1.2.840.10008.1.3.10"
_META_GROUP = 0x0002

OTHER_ENCODING = (
    "TransferSyntaxUID does not name the encoding of the file, which was found by trial"
)


def parse(data: bytes) -> tuple[Any, str]:
    """The elements of a DICOM file that its pixels need.

    Args:
        data: The file; the preamble and the file meta information may be missing.

    Returns:
        The data set, whose file meta information names a transfer syntax, and a notice, "" where all was as stated.

    Raises:
        ImageFault: There are no pixels, or the file inflates to more than allowed.
        Exception: Whatever pydicom raises on a damaged file.
    """
    meta, start = _meta(io.BytesIO(data))
    if meta.get("MediaStorageSOPClassUID") == _DISC_INDEX:
        raise ImageFault(
            "the file is a DICOMDIR, the index of a disc",
            do="Name the image files beside it.",
        )

    stated = meta.get("TransferSyntaxUID")
    notice = ""
    if stated is None:
        data = data[start:]
    elif stated.is_deflated:
        # Some say so of a plain data set.
        try:
            data = _inflated(data[start:])
        except zlib.error:
            data = data[start:]
            notice = OTHER_ENCODING
        stated = None

    image = _read(io.BytesIO(data), TAGS)
    if "PixelData" not in image and stated is not None:
        # The data set by itself, in the encoding that its first element shows.
        guessed = _read(io.BytesIO(data[start:]), TAGS)
        if "PixelData" in guessed and "Rows" in guessed:
            image, stated, notice = guessed, None, OTHER_ENCODING

    if "FloatPixelData" in image or "DoubleFloatPixelData" in image:
        raise ImageFault(
            "the DICOM image is not of 8 to 16 bits",
            "its pixels are floating-point numbers (FloatPixelData)",
            "Convert it to 8 or 16 bits.",
        )
    if "PixelData" not in image:
        raise ImageFault(
            "the DICOM file has no pixel data", "it is another kind of object, or ends too early"
        )
    if not image.PixelData:
        raise ImageFault("PixelData of the DICOM image is empty", "the image was exported without")

    if stated is None:
        _state_encoding(image)
    return image, notice


def read_elements(path: Path, names: list[str]) -> Any:
    """Some elements of a DICOM file, without its pixels.

    Use it to find out what files of a folder are; of a plain file only the header is read.

    Args:
        path: The file, which may be packed by gzip.
        names: Keywords of the elements.

    Returns:
        The data set, which has those of the elements that the file has; None where the file is no DICOM image.

    Raises:
        ImageFault: The file cannot be read, is too large, or is damaged.
    """
    try:
        with open_regular(path) as opened:
            head = opened.read(HEAD)
            if head.startswith(GZIP):
                content = read_content(path)
                return _elements(io.BytesIO(content.data), names)
            if not marks_dicom(head, path.name):
                return None
            opened.seek(0)
            return _elements(opened, names)
    except ImageFault:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file can make the parser raise anything
        reason = error.strerror if isinstance(error, OSError) else None
        raise ImageFault("the DICOM file cannot be read", reason or type(error).__name__) from None


def _elements(file: BinaryIO, names: list[str]) -> Any:
    """Elements of an opened file; None where it holds no image."""
    meta, start = _meta(file)
    if meta.get("MediaStorageSOPClassUID") == _DISC_INDEX:
        return None

    file.seek(0)
    stated = meta.get("TransferSyntaxUID")
    if stated is not None and stated.is_deflated:
        file.seek(start)
        file = io.BytesIO(_inflated(file.read(most_bytes())))

    found = _read(file, [*names, "Rows", "Columns"], pixels=False)
    return found if "Rows" in found and "Columns" in found else None


def _read(file: BinaryIO, names: list[Any], *, pixels: bool = True) -> Any:
    from pydicom import dcmread

    counted: Any = _CountedFile(file)
    image = dcmread(counted, force=True, specific_tags=names, stop_before_pixels=not pixels)
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        value = image.get_item(name).value if name in image else None
        if isinstance(value, bytes) and max(map(value.count, _ITEMS)) > _MOST_ITEMS:
            raise _too_many()
    return image


class _CountedFile:
    """A file that is not read without end: zeros, or items of nothing, are a million elements of 8 bytes each.

    Args:
        file: The file, at its start.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._readings = 0
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            ImageFault: The file was read more often than an image needs.
        """
        self._readings += 1
        if self._readings > _MOST_READINGS:
            raise _too_many()
        return self._file.read(size)


def _too_many() -> ImageFault:
    return ImageFault("the DICOM file has far more elements than an image, or is none")


def _meta(file: BinaryIO) -> tuple[Any, int]:
    """The file meta information, and where the data set begins."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset, read_preamble

    counted: Any = _CountedFile(file)
    read_preamble(counted, force=True)

    # Group 2 is always explicit and little endian.
    start = file.seek(0, io.SEEK_CUR)
    group = file.read(2)
    file.seek(start)
    if group != b"\x02\0":
        return FileMetaDataset(), start
    meta = read_dataset(
        counted, False, True, stop_when=lambda tag, kind, length: tag.group != _META_GROUP
    )
    return meta, file.seek(0, io.SEEK_CUR)


def _inflated(body: bytes) -> bytes:
    """A deflated data set, inflated no further than allowed."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(body, most_bytes() + 1)
    if len(inflated) > most_bytes():
        raise too_many_bytes("inflates to")
    return inflated


def _state_encoding(image: Any) -> None:
    """Name the transfer syntax of a data set that does not state it: the one that it was read by."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little = image.original_encoding
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
