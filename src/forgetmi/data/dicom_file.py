"""Parses a DICOM file: only the elements that its pixels need, in the encoding it really has, inflated in bounds."""

from __future__ import annotations

import io
import zlib
from typing import Any

from forgetmi.data.decoded import ImageFault
from forgetmi.data.image_bounds import most_bytes, too_many_bytes

# Nothing else is parsed: no name, number or date of a patient is ever read.
TAGS: list[Any] = [
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
    "PixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
]

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
    meta, start = _meta(data)
    if meta.get("MediaStorageSOPClassUID") == _DISC_INDEX:
        raise ImageFault(
            "the file is a DICOMDIR, the index of a disc",
            do="Name the image files beside it.",
        )

    stated = meta.get("TransferSyntaxUID")
    body = data[start:]
    notice = ""
    if stated is not None and stated.is_deflated:
        # Some say so of a plain data set.
        try:
            body = _inflated(body)
        except zlib.error:
            notice = OTHER_ENCODING
        stated = None

    image = _read(data if stated is not None else body)
    if "PixelData" not in image and stated is not None:
        # The data set by itself, in the encoding that its first element shows.
        guessed = _read(body)
        if "PixelData" in guessed and "Rows" in guessed:
            image, stated, notice = guessed, None, OTHER_ENCODING

    if "PixelData" not in image:
        raise ImageFault(
            "the DICOM file has no pixel data", "it is another kind of object, or ends too early"
        )

    if stated is None:
        _state_encoding(image)
    return image, notice


def _read(data: bytes) -> Any:
    from pydicom import dcmread

    return dcmread(io.BytesIO(data), force=True, specific_tags=TAGS)


def _meta(data: bytes) -> tuple[Any, int]:
    """The file meta information, and where the data set begins."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset, read_preamble

    file = io.BytesIO(data)
    read_preamble(file, force=True)

    # Group 2 is always explicit and little endian.
    start = file.seek(0, io.SEEK_CUR)
    if data[start : start + 2] != b"\x02\0":
        return FileMetaDataset(), start
    meta = read_dataset(
        file, False, True, stop_when=lambda tag, kind, length: tag.group != _META_GROUP
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
