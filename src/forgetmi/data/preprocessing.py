"""How a decoded radiograph becomes a square model input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.serialization import LATER
from forgetmi.data.window import FIRST, NONE, RELEASED, is_window

Pixels = npt.NDArray[np.float32]


@final
@dataclass(frozen=True)
class ImagePreprocessing:
    """How a decoded radiograph becomes a square model input.

    Args:
        size: Side of the result, pixels, 8..4096.
        fit: "pad" resizes the longest side to `size` (antialiased) and pads the other with zeros, centred.
            "center_crop" never resizes: zeros on every side, then the centre is cut out, as the authors' release does
            at 2048 pixels. "stretch" resizes each side to `size`, so that nothing is padded and shapes are distorted.
        invert: Whether negatives (DICOM MONOCHROME1, or an inverse presentation) become positives; False takes DICOM
            films as they are stored, by the rule "released", as the authors' release does.
        window: Window of DICOM films: "first" window or VOI table of the file, another one's number ("2"), "none" (the
            film's own range), or "released" (stored values by their own maximum, without any table).
        levels: Which levels of JPEG 2000 in DICOM are decoded: "all", or "needed" alone, which is up to forty times as
            fast for small images and differs within `forgetmi.data.dicom_levels.reduce`'s bound. Other films are
            decoded whole.
    """

    size: int = 64
    fit: Literal["pad", "center_crop", "stretch"] = "pad"
    invert: bool = True
    window: str = field(default=FIRST, metadata=LATER)
    levels: Literal["all", "needed"] = field(default="all", metadata=LATER)

    def __post_init__(self) -> None:
        faults = []

        if not 8 <= self.size <= 4096:
            faults.append(
                Fault(f"image size {self.size} is out of range", do="Choose 8 to 4096 pixels.")
            )

        if self.fit not in FITS:
            faults.append(
                Fault(f"there is no image fit {self.fit!r}", do=f"Choose one of {', '.join(FITS)}.")
            )

        if not is_window(self.window):
            faults.append(
                Fault(
                    f"there is no window {quoted(self.window)}",
                    do=f"Choose {FIRST}, {NONE}, {RELEASED}, or a number from 1 to 99.",
                )
            )

        elif not self.invert and self.window not in (FIRST, RELEASED):
            faults.append(
                Fault(
                    f"a window {quoted(self.window)} does not go with invert = False",
                    why="films are then taken as they are stored",
                    do=f"Leave the window out, or name {RELEASED}.",
                )
            )

        if self.levels not in ("all", "needed"):
            faults.append(
                Fault(f"there are no levels {quoted(self.levels)}", do="Choose all or needed.")
            )

        # The release cuts pixels out of the whole film
        whole = self.fit == "center_crop" or not self.invert or self.window == RELEASED
        if self.levels == "needed" and whole:
            faults.append(
                Fault(
                    "levels needed does not go with this fit and window",
                    why="the published pipeline takes films as they are stored, pixel by pixel",
                    do="Leave it out, or choose the fit pad or stretch and another window.",
                )
            )

        if faults:
            raise SpecError(faults)

    @property
    def digest(self) -> str:
        """Digest of what decides the stored pixels; a change of the rules here or in `decode` needs a new number."""
        stored = "" if self.invert else " as stored"
        window = self.reading.get("window", FIRST)
        levels = "" if self.levels == "all" else f" {self.levels}"
        rules = f"forgetmi image 3 {self.fit} {self.size}{stored} {window}{levels}"
        return hashlib.sha256(rules.encode()).hexdigest()

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of `forgetmi.data.decode.read_image` that are not its defaults."""
        if not self.invert:
            return {"window": RELEASED, "invert": False}
        given: dict[str, Any] = {} if self.window == FIRST else {"window": self.window}
        if self.levels == "needed":
            given["enough"] = (self.size, self.fit == "pad")
        return given

    def apply(self, pixels: Pixels) -> Pixels:
        """Bring one image to the model's size.

        Args:
            pixels: float32[h, w] in [0, 1].

        Returns:
            float32[size, size] in [0, 1]; an image of that size already is returned with the same values.
        """
        return FITS[self.fit](pixels, self.size)


def _stretch(pixels: Pixels, size: int) -> Pixels:
    return _resize(pixels, size, size)


def _pad(pixels: Pixels, size: int) -> Pixels:
    # The longest side becomes ``size``; the other keeps the aspect ratio.
    height, width = pixels.shape
    longest = max(height, width)
    new_height = max(1, round(height * size / longest))
    new_width = max(1, round(width * size / longest))
    pixels = _resize(pixels, new_height, new_width)

    # Centred on a black square.
    height, width = pixels.shape
    top = (size - height) // 2
    left = (size - width) // 2
    square = np.zeros((size, size), np.float32)
    square[top : top + height, left : left + width] = pixels
    return square


def _center_crop(pixels: Pixels, size: int) -> Pixels:
    # A black margin on each side, so that the crop never leaves the image.
    height, width = pixels.shape
    vertical = max(0, size - height) // 2 + 4
    horizontal = max(0, size - width) // 2 + 4
    padded = np.pad(pixels, [(vertical, vertical), (horizontal, horizontal)])

    # The square in the middle.
    height, width = padded.shape
    top = (height - size) // 2
    left = (width - size) // 2
    square = padded[top : top + size, left : left + size]
    return np.ascontiguousarray(square, np.float32)


FITS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "pad": _pad,
    "center_crop": _center_crop,
    "stretch": _stretch,
}


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    # Imported here: a run specification names this module and should load without an image library.
    from PIL import Image

    if pixels.shape == (height, width):
        return pixels

    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    resized = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)

    # Lanczos overshoots at edges.
    return np.asarray(resized, np.float32).clip(0.0, 1.0)
