"""Reads one radiograph from a file (PNG, JPEG, NPY, DICOM) as grey values in [0, 1]."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.core.errors import Fault

DAMAGED = "Replace the file by an undamaged copy, or leave its row out."
NUMPY = b"\x93NUMPY"
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

# Names that are read as DICOM even without the preamble that marks it.
ENDINGS = (".dcm", ".dicom")

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
    "PixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
]

# Luma weights of red, green and blue (ITU-R BT.601).
_GREY = np.array([0.299, 0.587, 0.114])
_TO_GREY = "colour image converted to grey"


class ImageFault(Exception):
    """An image that cannot be used. Its words never hold the path, which may name a patient.

    Args:
        what, why, do: As in `forgetmi.core.errors.Fault`; kept as the attribute `fault`, whose `where` is for the
            caller.
    """

    def __init__(self, what: str, why: str = "", do: str = DAMAGED) -> None:
        self.fault = Fault(what, why=why, do=do)
        super().__init__(what, why, do)

    def __str__(self) -> str:
        return str(self.fault)


@dataclass(frozen=True, eq=False)
class Decoded:
    """One decoded image.

    Args:
        pixels: Float32[h, w] in [0, 1].
        notice: What was converted, in words without identifiers; "" where nothing was.
        inverted: Whether it was stored as a negative (DICOM MONOCHROME1).
    """

    pixels: npt.NDArray[np.float32]
    notice: str = ""
    inverted: bool = False


def split_locator(locator: str) -> tuple[str, int | None]:
    """A locator's file and, for "stack.npy#17", the place of the image in the stack."""
    match = re.fullmatch(r"(.+\.npy)#(\d{1,12})", locator, flags=re.IGNORECASE | re.DOTALL)
    if match is None:
        return locator, None
    return match[1], int(match[2])


def read_image(locator: str) -> Decoded:
    """Read one image as grey values.

    8-bit PNG, JPEG and NPY are divided by 255; everything of more bits, and every DICOM image, by its own maximum, as
    in the published Forget-MI pipeline; NPY arrays of floats must lie in [0, 1] already. Differences to that pipeline:
    MONOCHROME1 is inverted, and signed values below 0 are shifted up. DICOM windows and rescaling are not applied.

    Args:
        locator: Path of a PNG, JPEG, DICOM or NPY file (h, w), told apart by their content; or "stack.npy#17" for image
            17 of an NPY stack (n, h, w), of which only that image is read.

    Raises:
        ImageFault: The file is absent, damaged, of another kind, or holds no single image. The message has no path.

    Source: F. Hardan et al., Forget-MI, MICCAI 2025, arXiv:2506.23145, released data loader (commit e93fa12).
    """
    file, index = split_locator(locator)
    path = Path(file)
    head, data = _read(path)

    # The kind is told by the content; only a DICOM file without preamble is known by its name.
    with silence():
        if head.startswith(NUMPY):
            return _npy(path, index)
        if index is not None:
            raise ImageFault("the image stack is not an NPY file")
        if head.startswith((PNG, JPEG)):
            return _picture(data)
        if head[128:] == b"DICM" or path.suffix.lower() in ENDINGS:
            return _dicom(data)

    if not head:
        raise ImageFault("the image file is empty")
    raise ImageFault("the file is no PNG, JPEG, NPY or DICOM image")


def _read(path: Path) -> tuple[bytes, bytes]:
    """The first bytes of a file, and all of it; an NPY file is mapped later, not read."""
    try:
        with path.open("rb") as opened:
            head = opened.read(132)
            data = head if head.startswith(NUMPY) else head + opened.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ImageFault(
            "the image file cannot be read",
            reason or type(error).__name__,
            "Check the image folder and the file's permissions.",
        ) from None
    return head, data


@contextmanager
def silence() -> Iterator[None]:
    """Keep the decoders' warnings and log lines to themselves: they may quote what stands in a file."""
    logger = logging.getLogger("pydicom")
    disabled = logger.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = disabled


def _npy(path: Path, index: int | None) -> Decoded:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise ImageFault(
            "the NPY file is damaged, or holds Python objects", type(error).__name__
        ) from None

    if index is not None:
        array = _slice(array, index)

    if array.ndim != 2 or 0 in array.shape:
        raise ImageFault(
            "the array is not one grey image",
            f"its shape is {array.shape}",
            "Store (h, w), or (n, h, w) and name the image as in stack.npy#17.",
        )

    return _grey(np.asarray(array))


def _slice(stack: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
    """One image of a stack."""
    if stack.ndim != 3 or index >= len(stack):
        raise ImageFault(
            f"the stack has no image {index}",
            f"its shape is {stack.shape}",
            "Number the images of a stack (n, h, w) from 0.",
        )
    return stack[index]


def _grey(array: npt.NDArray[Any]) -> Decoded:
    """An array's values as grey values."""
    # 8-bit values have a fixed white; wider ones are divided by their maximum.
    if array.dtype == np.uint8:
        return Decoded(np.asarray(array, np.float32) / np.float32(255))
    if np.issubdtype(array.dtype, np.integer):
        return _by_maximum(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageFault(
            "the array does not hold grey values",
            f"its type is {array.dtype}",
            "Store integers, or floats from 0 to 1.",
        )

    # Written so that it is also refused where there is a NaN.
    if not (array.min() >= 0 and array.max() <= 1):
        raise ImageFault(
            "the array's floats are not all from 0 to 1", do="Scale the image to [0, 1]."
        )
    return Decoded(array.astype(np.float32))


def _picture(data: bytes) -> Decoded:
    # Imported here: an NPY cohort needs no image library.
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            image.load()

            # More than 8 bits.
            if image.mode.startswith("I"):
                return _by_maximum(np.asarray(image))

            pixels = np.asarray(image.convert("L"), np.float32) / np.float32(255)
            return Decoded(pixels, _conversion(image.mode))
    except Image.DecompressionBombError:
        raise ImageFault("the image is far too large to be a radiograph") from None
    except Exception as error:  # noqa: BLE001 - a damaged file can make the decoders raise anything
        raise ImageFault("the image is truncated or damaged", type(error).__name__) from None


def _conversion(mode: str) -> str:
    """What becomes of a picture of that mode, in words."""
    if mode in ("L", "1"):
        return ""
    if mode == "LA":
        return "transparency dropped"
    return _TO_GREY


def _dicom(data: bytes) -> Decoded:
    # Imported here: only DICOM files need pydicom.
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import ImplicitVRLittleEndian

    try:
        image = dcmread(io.BytesIO(data), force=True, specific_tags=TAGS)
        if "PixelData" not in image:
            raise ImageFault(
                "the DICOM file has no pixel data",
                "it is another kind of object, or ends too early",
            )

        # A file without a preamble does not state its encoding; this one is DICOM's default.
        syntax = image.file_meta.setdefault("TransferSyntaxUID", ImplicitVRLittleEndian).value
        _check(image, syntax)
        pixels = np.asarray(pixel_array(image))
    except ImageFault:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file can make the decoders raise anything
        raise ImageFault("the DICOM file is truncated or damaged", type(error).__name__) from None

    notice = ""
    if pixels.ndim == 3:
        pixels = pixels @ _GREY
        notice = _TO_GREY
    decoded = _by_maximum(pixels, notice)

    # A negative: white is 0.
    if image.PhotometricInterpretation == "MONOCHROME1":
        return Decoded(np.float32(1) - decoded.pixels, decoded.notice, inverted=True)
    return decoded


def _check(image: Any, syntax: Any) -> None:
    """Refuse what is not one grey or colour picture of 8 to 16 bits, or what no installed decoder can read."""
    from pydicom.pixels.decoders.base import get_decoder

    if int(image.get("NumberOfFrames") or 1) != 1:
        raise ImageFault(
            "the DICOM file holds several frames",
            f"{int(image.NumberOfFrames)} frames",
            "Store each radiograph as a file of its own.",
        )

    if image.BitsAllocated not in (8, 16):
        raise ImageFault(
            "the DICOM image is not of 8 to 16 bits",
            f"{int(image.BitsAllocated)} bits a pixel",
            "Convert it to 8 or 16 bits.",
        )

    if image.PhotometricInterpretation == "PALETTE COLOR":
        raise ImageFault("the DICOM image uses a colour table", do="Convert it to grey values.")

    # Compressed pixels need a decoder, some of which are an extra.
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise ImageFault(
            "the DICOM image's transfer syntax is not one of images",
            do="Store it uncompressed, or as RLE, JPEG or JPEG 2000.",
        ) from None

    if not available:
        raise ImageFault(
            "no decoder for the DICOM image's compression is installed",
            syntax.name,
            "Install the extra: pip install 'forgetmi[dicom]'.",
        )


def _by_maximum(values: npt.NDArray[Any], notice: str = "") -> Decoded:
    """Integers divided by their own maximum."""
    wide = values.astype(np.float64)
    if wide.min() < 0:
        wide -= wide.min()
        shifted = "negative values shifted up to 0"
        notice = f"{notice}; {shifted}" if notice else shifted

    # An image that is black everywhere stays so.
    largest = wide.max() or 1.0
    return Decoded((wide / largest).astype(np.float32), notice)
