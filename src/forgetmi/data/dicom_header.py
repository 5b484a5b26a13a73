"""Compares a DICOM header with itself and with the pixels' length: repaired where one reading fits, else refused."""

from __future__ import annotations

from typing import Any

from forgetmi.data.decoded import ImageFault, joined
from forgetmi.data.dicom_codestream import check_codestream, is_encapsulated, sniffed_syntax
from forgetmi.data.image_bounds import check_size

REQUIRED = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)

GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")

# Two bytes, of which a pixel has one or two.
_BITS = (8, 16)

CORRECT = "Correct the element or export the image again, or leave its row out."


def check_header(image: Any) -> str:
    """Refuse what is not one grey or colour picture of 8 to 16 bits, or what contradicts its pixels' length.

    Args:
        image: The data set; elements that were wrong and of which only one value fits are corrected in it.

    Returns:
        What was corrected, in words; "" where nothing was.

    Raises:
        ImageFault: It cannot be read; the elements are named.
    """
    _check_present(image)
    _check_frames(image)
    _check_values(image)
    check_size(image.Rows, image.Columns)

    # The transfer syntax decides how long the pixels must be.
    notice = sniffed_syntax(image)
    _check_decoder(image.file_meta.TransferSyntaxUID)
    if is_encapsulated(image):
        # The order of colours is the compression's own.
        if "PlanarConfiguration" not in image:
            image.PlanarConfiguration = 0
        return joined(notice, check_codestream(image))

    corrected = _check_samples(image)
    if image.SamplesPerPixel > 1 and "PlanarConfiguration" not in image:
        raise _lacking(["PlanarConfiguration"])
    return joined(notice, corrected, _check_length(image))


def _check_present(image: Any) -> None:
    """All missing elements at once."""
    missing = []
    for name in REQUIRED:
        if image.get(name) is None or image.get(name) == "":
            missing.append(name)

    if missing:
        raise _lacking(missing)


def _lacking(missing: list[str]) -> ImageFault:
    return ImageFault(
        f"the DICOM image lacks {', '.join(missing)}",
        "its pixels cannot be understood without",
        "Add the element or export the image again, or leave its row out.",
    )


def _check_frames(image: Any) -> None:
    text = image.get("NumberOfFrames")
    try:
        frames = int(text or 1)
    except (TypeError, ValueError):
        raise wrong("NumberOfFrames", "it is no number") from None

    if frames != 1:
        raise ImageFault(
            "the DICOM file holds several frames",
            f"NumberOfFrames is {frames}",
            "Store each radiograph as a file of its own.",
        )


def _check_values(image: Any) -> None:
    """Each element by itself."""
    numbers = [name for name in REQUIRED if name != "PhotometricInterpretation"]
    for name in numbers:
        if not isinstance(image.get(name), int):
            raise wrong(name, "it is not one whole number")

    for name in ("Rows", "Columns"):
        if image.get(name) < 1:
            raise wrong(name, f"it is {image.get(name)}")
    if image.BitsAllocated not in _BITS:
        raise ImageFault(
            "the DICOM image is not of 8 to 16 bits",
            f"BitsAllocated is {image.BitsAllocated}",
            "Convert it to 8 or 16 bits.",
        )
    if image.PixelRepresentation not in (0, 1):
        raise wrong("PixelRepresentation", f"it is {image.PixelRepresentation}, neither 0 nor 1")
    if image.SamplesPerPixel not in (1, 3):
        raise wrong("SamplesPerPixel", f"it is {image.SamplesPerPixel}, neither 1 nor 3")

    # Case and blanks do not matter.
    photometric = str(image.PhotometricInterpretation).strip().upper()
    if photometric == "PALETTE COLOR":
        raise ImageFault("the DICOM image uses a colour table", do="Convert it to grey values.")
    if photometric not in GREY + _COLOUR:
        raise wrong("PhotometricInterpretation", "it is no kind of grey or colour that is read")
    image.PhotometricInterpretation = photometric


def _check_decoder(syntax: Any) -> None:
    """Compressed pixels need a decoder, some of which are an extra."""
    from pydicom.pixels.decoders.base import get_decoder

    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise ImageFault(
            "the DICOM image's transfer syntax is not one of images",
            "TransferSyntaxUID names no encoding of single images",
            do="Store it uncompressed, or as RLE, JPEG or JPEG 2000.",
        ) from None

    if not available:
        raise ImageFault(
            "no decoder for the DICOM image's compression is installed",
            syntax.name,
            "Install the extra: pip install 'forgetmi[dicom]'.",
        )


def _check_samples(image: Any) -> str:
    """Compare colour, samples and the length of uncompressed pixels."""
    grey = image.PhotometricInterpretation in GREY
    fitting = 1 if grey else 3
    if image.SamplesPerPixel == fitting:
        return ""

    # Repaired where the length says so, too.
    pixels = image.Rows * image.Columns * (image.BitsAllocated // 8)
    if len(image.PixelData) not in (fitting * pixels, fitting * pixels + 1):
        raise ImageFault(
            "SamplesPerPixel and PhotometricInterpretation of the DICOM image contradict each other",
            f"{image.SamplesPerPixel} samples a pixel, but {'grey' if grey else 'colour'}",
            CORRECT,
        )
    image.SamplesPerPixel = fitting
    if not grey:
        image.setdefault("PlanarConfiguration", 0)
    return f"SamplesPerPixel read as {fitting}, which colour and PixelData fit"


def _check_length(image: Any) -> str:
    """Compare the size in the header with the length of uncompressed pixels."""
    from pydicom.pixels.utils import get_expected_length

    expected, found = get_expected_length(image), len(image.PixelData)
    stated = "Rows x Columns x SamplesPerPixel x BitsAllocated"
    numbers = f"PixelData has {found} bytes, {stated} makes {expected}"
    surplus = found - expected
    if surplus < 0:
        raise ImageFault("the DICOM image is truncated, or its header is wrong", numbers)

    # One byte makes the length even.
    if surplus == 0 or (surplus == 1 and expected % 2):
        return ""

    # A wrong number of rows or columns would leave at least a row or a column.
    sample = image.SamplesPerPixel * image.BitsAllocated // 8
    if surplus < sample * min(image.Rows, image.Columns):
        return "PixelData is longer than the image: the surplus was left out"

    raise ImageFault(
        "the DICOM image has more pixels than its header says",
        f"{numbers}; NumberOfFrames, BitsAllocated, Rows or Columns is wrong",
        f"Store each radiograph as a file of its own. {CORRECT}",
    )


def wrong(element: str, why: str) -> ImageFault:
    """The fault of an element that cannot be right."""
    return ImageFault(f"{element} of the DICOM image is wrong", why, CORRECT)
