"""How the authors' release reads one radiograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image

from forgetmi.core.regular_file import open_regular
from forgetmi.data.decode import DAMAGED, ImageFault, silence
from forgetmi.data.dicom_file import PIXEL_TAGS
from forgetmi.data.preprocessing import ImagePreprocessing

Pixels = npt.NDArray[np.float32]
SIZE = 2048


@dataclass(frozen=True)
class PixelNoise:
    """Gaussian noise on every pixel.

    Args:
        mean: Mean, in grey values of [0, 1].
        std: Standard deviation, in grey values, >= 0.
    """

    mean: float = 0.0
    std: float = 0.1

    def apply(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """Noisy copy, computed in float64 and clipped to [0, 1]."""
        noise = rng.normal(self.mean, self.std, pixels.shape)
        return np.clip(pixels + noise, 0.0, 1.0).astype(np.float32)


def read_image(
    path: Path,
    *,
    noise: PixelNoise | None = None,
    rng: np.random.Generator | None = None,
    size: int = SIZE,
) -> Pixels:
    """Read, scale, disturb, pad and crop one image as the release does.

    The pixels become float32 and are divided by their own maximum; nothing else happens to them: no window, no rescale
    slope, and MONOCHROME1 is not inverted. Noise comes before padding, so that padding stays exactly 0, and only for
    DICOM files. Every side gets 4 zeros and half of what is missing, then the centre is cut out. A .npy array is not
    scaled.

    Args:
        path: A .dcm, .png or .npy file.
        noise: Disturb the pixels of a DICOM file; None = as they are.
        rng: Where the noise comes from; needed with ``noise``.
        size: Side of the result, pixels.

    Returns:
        Float32[size, size].

    Raises:
        ImageFault: The file cannot be read (the release prints this and goes on with None), holds more than one grey
            image, or is 0 everywhere (the release divides 0 by 0).

    Source: load_image and CenterCrop of the Forget-MI release (arXiv 2506.23145). Its RandomTranslateCrop has its shift
    commented out and equals CenterCrop.
    """
    kind = path.suffix.lower()

    # Messages name no path: it may hold an identifier.
    try:
        with silence(), open_regular(path) as file:
            pixels = _decode(file, kind)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - decoders raise anything; one in Rust raises no Exception
        advice = f"{DAMAGED} Compressed files need the extra: pip install 'forgetmi[dicom]'."
        raise ImageFault(
            f"the {kind or 'file'} image cannot be read",
            type(error).__name__,
            advice if kind == ".dcm" else DAMAGED,
        ) from None  # the cause may quote the path
    if pixels.ndim != 2:
        raise ImageFault("it is not one grey image", f"its shape is {pixels.shape}")

    # Scaled to [0, 1] by the image's own maximum; arrays are taken as they are.
    if kind != ".npy":
        brightest = pixels.max(initial=0)
        if brightest <= 0:
            raise ImageFault("no pixel is above 0", "dividing by the maximum is undefined")
        pixels = pixels / brightest

    # Noise comes before padding, so that padding stays 0.
    if noise is not None and kind == ".dcm":
        if rng is None:
            raise ValueError("noise needs a generator")
        pixels = noise.apply(pixels, rng)

    return ImagePreprocessing(size=size, fit="center_crop").apply(pixels)


def _decode(file: BinaryIO, kind: str) -> Pixels:
    if kind == ".dcm":
        return pydicom.dcmread(file, force=True, specific_tags=PIXEL_TAGS).pixel_array.astype(
            np.float32
        )
    if kind == ".png":
        with Image.open(file) as opened:
            return np.asarray(opened).astype(np.float32)
    if kind == ".npy":
        return np.load(file, allow_pickle=False).astype(np.float32)
    raise ValueError(f"unknown kind {kind!r}")
