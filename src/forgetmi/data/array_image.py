"""Reads one grey image from an NPY file, of which no more is read than that image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data.decoded import Decoded, ImageFault
from forgetmi.data.grey import grey_of
from forgetmi.data.image_bounds import check_size


def read_array(path: Path, index: int | None) -> Decoded:
    """One image of an NPY file.

    Args:
        path: The file, which is known to be a regular one.
        index: The image's place in a stack (n, h, w); None = the array is the image.

    Raises:
        ImageFault: The file is damaged, holds no such image, or too large a one.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - a damaged header can make numpy raise anything
        raise ImageFault(
            "the NPY file is damaged, or holds Python objects", type(error).__name__
        ) from None

    return grey_array(array if index is None else _slice(array, index))


def grey_array(array: npt.NDArray[Any]) -> Decoded:
    """An array as one grey image; see `forgetmi.data.grey.grey_of`.

    Raises:
        ImageFault: It is not of the form (h, w), too large, or holds no grey values.
    """
    if array.ndim != 2 or 0 in array.shape:
        raise ImageFault(
            "the array is not one grey image",
            f"its shape is {array.shape}",
            "Store (h, w), or (n, h, w) and name the image as in stack.npy#17.",
        )

    check_size(*array.shape)
    return grey_of(np.asarray(array))


def _slice(stack: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
    """One image of a stack."""
    if stack.ndim != 3 or index >= len(stack):
        raise ImageFault(
            f"the stack has no image {index}",
            f"its shape is {stack.shape}",
            "Number the images of a stack (n, h, w) from 0.",
        )
    return stack[index]
