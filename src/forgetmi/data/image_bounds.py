"""How large an image may be; checked from its header, before anything is decoded."""

from __future__ import annotations

import os

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.data.decoded import ImageFault

# The largest films of digital mammography have 20 million pixels.
MOST_PIXELS = 64_000_000

# Names another bound than `MOST_PIXELS`.
PIXELS_VARIABLE = "FORGETMI_MOST_PIXELS"

# A pixel has at most 16 bits in each of two channels or 8 in each of four; header and tables come on top.
_BYTES_A_PIXEL = 4
_HEADER_BYTES = 2**24


def most_pixels() -> int:
    """The most pixels an image may have: 64 million, or what the environment variable FORGETMI_MOST_PIXELS says.

    Raises:
        SpecError: The variable does not hold a whole number above 0.
    """
    text = os.environ.get(PIXELS_VARIABLE, "").strip()
    if not text:
        return MOST_PIXELS
    if text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0:
        return int(text)

    raise SpecError(
        Fault(
            f"the environment variable {PIXELS_VARIABLE} is no number of pixels",
            why=f"it is {quoted(text)}",
            do="Write a whole number, e.g. 64000000, or remove it.",
        )
    )


def most_bytes() -> int:
    """The most bytes of an image that are read or inflated."""
    return _BYTES_A_PIXEL * most_pixels() + _HEADER_BYTES


def check_size(height: int, width: int) -> None:
    """Refuse an image of more pixels than allowed.

    Args:
        height, width: As its header states them.

    Raises:
        ImageFault: It has more than `most_pixels`.
    """
    if height * width > most_pixels():
        raise ImageFault(
            "the image is far too large to be a radiograph",
            f"{height} x {width} pixels; at most {most_pixels()} are read",
            f"Leave its row out, or raise the bound in the environment variable {PIXELS_VARIABLE}.",
        )


def too_many_bytes(doing: str) -> ImageFault:
    """The fault of a file that holds or inflates to more bytes than allowed."""
    return ImageFault(
        f"the image file {doing} more bytes than a radiograph has",
        f"at most {most_bytes() // 2**20} MiB are read",
        f"Leave its row out, or raise the bound in the environment variable {PIXELS_VARIABLE}.",
    )
