"""What reading an image gives: grey values, or a fault without the path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetmi.core.errors import Fault

DAMAGED = "Replace the file by an undamaged copy, or leave its row out."

# Between the parts of a notice.
AND = "; "


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
        notice: What was converted, chosen or found odd, in words without identifiers, parts separated by "; "; "" where
            nothing was.
        inverted: Whether a negative was turned into a positive (DICOM MONOCHROME1 or an inverse presentation).
    """

    pixels: npt.NDArray[np.float32]
    notice: str = ""
    inverted: bool = False


def joined(*notices: str) -> str:
    """Several notices as one; empty ones are left out, and none is said twice."""
    parts = dict.fromkeys(notice for notice in notices if notice)
    return AND.join(parts)
