"""One film as a model reads it, outside of any cohort and of the cache: by the rules that training read its films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.data.array_image import grey_array
from forgetmi.data.decode import read_image
from forgetmi.data.image_file import WHITE, as_stored
from forgetmi.data.preprocessing import ImagePreprocessing


def model_input(
    film: str | Path | npt.NDArray[Any], preprocessing: ImagePreprocessing
) -> npt.NDArray[np.float32]:
    """A film as a model's input, to the bit as an image store would hold it.

    Args:
        film: Path of a PNG, JPEG, DICOM or NPY file (also "stack.npy#17"); or an array (h, w) of grey values, white
            high: 8 bits, other integers (by their own maximum), or floats in [0, 1].
        preprocessing: Of the model.

    Returns:
        float32[1, size, size] in [0, 1].

    Raises:
        ImageFault: It cannot be used; the message has no path.
    """
    if isinstance(film, str | Path):
        decoded = read_image(str(film), **preprocessing.reading)
    else:
        decoded = grey_array(np.asarray(film))

    # Stored films have 16 bits, and training saw no finer values
    return as_stored(decoded, preprocessing)[None].astype(np.float32) / WHITE
