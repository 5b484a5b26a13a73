"""Reads one grey image from a PNG or JPEG file: turned upright, 16 bits kept, a film in the alpha channel found."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data.decoded import Decoded, ImageFault, joined
from forgetmi.data.deep_png import check_deep_size, deep_samples, is_deep_colour
from forgetmi.data.grey import LUMA, TO_GREY, by_maximum, eight_bits
from forgetmi.data.image_bounds import check_size

TURNED = "turned upright as its EXIF orientation says"
TRANSPARENCY = "transparency dropped"
FROM_ALPHA = "the picture is blank and its alpha channel is not: the alpha channel was read"

_ORIENTATION = 0x0112
_UPRIGHT = 1
_TURNS = range(2, 9)

# Pillow's debug log quotes what the tags of a film hold, a person's name among them
logging.getLogger("PIL").setLevel(logging.INFO)


def read_picture(data: bytes) -> Decoded:
    """One PNG or JPEG image as grey values.

    Args:
        data: The file's bytes.

    Returns:
        8 bits divided by 255, more by the image's own maximum; upright.

    Raises:
        ImageFault: The picture is damaged, too large, or an animation.
    """
    # Imported here: an NPY cohort needs no image library.
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            # Nothing is decoded before the size is known to be right.
            width, height = image.size
            check_size(height, width)
            deep = is_deep_colour(data)
            if deep:
                check_deep_size(data)
            if getattr(image, "is_animated", False) and image.format == "PNG":
                raise ImageFault(
                    "the PNG file is an animation of several pictures",
                    do="Store each radiograph as a file of its own.",
                )

            orientation = image.getexif().get(_ORIENTATION, _UPRIGHT)
            if orientation not in _TURNS:
                orientation = _UPRIGHT
            if deep:
                return _deep(data, orientation)
            return _shallow(image, orientation)
    except ImageFault:
        raise
    except Image.DecompressionBombError:
        raise ImageFault(
            "the image is far too large to be a radiograph", do="Leave its row out."
        ) from None
    except Exception as error:  # noqa: BLE001 - a damaged file can make the decoders raise anything
        raise ImageFault(
            "the image is truncated or damaged, or of a kind no decoder reads", type(error).__name__
        ) from None


def _shallow(image: Any, orientation: int) -> Decoded:
    """A picture that Pillow reads without loss."""
    from PIL import ImageOps

    turned = ""
    image.load()
    if orientation != _UPRIGHT:
        image = ImageOps.exif_transpose(image)
        turned = TURNED

    # Grey of more than 8 bits.
    if image.mode.startswith("I"):
        return by_maximum(np.asarray(image), turned)

    # A palette may hold transparency, too.
    mode = image.mode
    if mode == "PA" or (mode == "P" and "transparency" in image.info):
        image = image.convert("RGBA")

    grey = np.asarray(image.convert("L"))
    alpha = np.asarray(image.getchannel("A")) if image.mode in ("LA", "RGBA") else None
    if alpha is not None and _blank(grey) and not _blank(alpha):
        return eight_bits(alpha, joined(turned, FROM_ALPHA))

    colour = "" if mode in ("L", "1", "LA") else TO_GREY
    clear = TRANSPARENCY if alpha is not None and alpha.min() < 255 else ""
    return eight_bits(grey, joined(turned, colour, clear))


def _deep(data: bytes, orientation: int) -> Decoded:
    """A colour or grey+alpha PNG of 16 bits."""
    colours, alpha = deep_samples(data)

    # Grey in float64, so that 16 bits stay 16 bits.
    if colours.shape[2] == 3:
        grey: npt.NDArray[Any] = colours @ LUMA
        notice = TO_GREY
    else:
        grey, notice = colours[:, :, 0], ""

    if alpha is not None and _blank(grey) and not _blank(alpha):
        grey, notice = alpha, FROM_ALPHA
    elif alpha is not None and alpha.min() < 65_535:
        notice = joined(notice, TRANSPARENCY)

    decoded = by_maximum(grey, notice)
    if orientation == _UPRIGHT:
        return decoded
    return Decoded(_turned(decoded.pixels, orientation), joined(TURNED, decoded.notice))


def _turned(pixels: npt.NDArray[np.float32], orientation: int) -> npt.NDArray[np.float32]:
    """Pixels as an EXIF orientation shows them."""
    from PIL import Image, ImageOps

    image = Image.fromarray(pixels)
    image.getexif()[_ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(image), np.float32)


def _blank(values: npt.NDArray[Any]) -> bool:
    return bool(values.min() == values.max())
