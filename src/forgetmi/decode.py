"""Reads one radiograph from a file as grey values in [0, 1]."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]


class ImageFault(Exception):
    """An image that cannot be used; its words never hold the path, which may name a patient.

    Args:
        what: The fault itself.
        why: What was found instead.
        do: What the reader can do about it.
    """

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        self.what, self.why, self.do = what, why, do
        super().__init__(what, why, do)

    def __str__(self) -> str:
        return self.what + (f" ({self.why})" if self.why else "") + (f". {self.do}" if self.do else "")


@dataclass(frozen=True, eq=False)
class Decoded:
    """One decoded image.

    Args:
        pixels: Float32[h, w] in [0, 1].
        notice: What was converted, in words without identifiers; "" where nothing was.
    """

    pixels: Pixels
    notice: str = ""


def split_locator(locator: str) -> tuple[str, int | None]:
    """A locator's file and, for "stack.npy#17", the place of the image in the stack."""
    match = re.fullmatch(r"(.+\.npy)#(\d{1,12})", locator, flags=re.IGNORECASE | re.DOTALL)
    return (match[1], int(match[2])) if match else (locator, None)
