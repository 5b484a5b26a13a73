"""Numbers as grey values: 8 bits by 255, more bits by their own maximum, floats as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data.decoded import Decoded, ImageFault, joined
from forgetmi.data.grey_range import coarse, remark_on

SHIFTED = "negative values shifted up to 0"
TO_GREY = "colour image converted to grey"

# Luma weights of red, green and blue (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114])


def grey_of(array: npt.NDArray[Any]) -> Decoded:
    """An array's values as grey values.

    Args:
        array: Integers, or floats in [0, 1]; [h, w].

    Returns:
        uint8 divided by 255, other integers by their own maximum (negative ones shifted up before), floats as they are.

    Raises:
        ImageFault: The array holds other things, or floats outside [0, 1].
    """
    # 8-bit values have a fixed white; wider ones are divided by their maximum.
    if array.dtype == np.uint8:
        return eight_bits(array)
    if np.issubdtype(array.dtype, np.integer):
        return by_maximum(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageFault(
            "the array does not hold grey values",
            f"its type is {array.dtype.kind!r}",
            "Store integers, or floats from 0 to 1.",
        )

    # Written so that it is also refused where there is a NaN.
    if not (array.min() >= 0 and array.max() <= 1):
        raise ImageFault(
            "the array's floats are not all from 0 to 1", do="Scale the image to [0, 1]."
        )
    pixels = array.astype(np.float32)
    return Decoded(pixels, remark_on(pixels))


def eight_bits(values: npt.NDArray[np.uint8], notice: str = "") -> Decoded:
    """8-bit values divided by 255."""
    pixels = np.asarray(values, np.float32) / np.float32(255)
    return Decoded(pixels, joined(notice, remark_on(values)))


def by_maximum(values: npt.NDArray[Any], notice: str = "") -> Decoded:
    """Numbers divided by their own maximum, in float64; those below 0 are shifted up before."""
    wide = values.astype(np.float64)
    lowest = wide.min()
    if lowest < 0:
        wide -= lowest
        notice = joined(notice, SHIFTED)

    # An image that is black everywhere stays so.
    largest = wide.max() or 1.0
    pixels = (wide / largest).astype(np.float32)

    # Other integers have no range of their own.
    if values.dtype != np.uint16:
        return Decoded(pixels, joined(notice, remark_on(pixels)))
    return Decoded(pixels, joined(notice, coarse(lowest, wide.max(), 16), remark_on(values)))
