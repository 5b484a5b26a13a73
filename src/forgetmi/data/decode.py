"""Reads one radiograph from a file (PNG, JPEG, NPY, DICOM) as grey values in [0, 1]."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgetmi.data.array_image import read_array
from forgetmi.data.decoded import DAMAGED, Decoded, ImageFault
from forgetmi.data.dicom import read_dicom
from forgetmi.data.image_content import read_content
from forgetmi.data.picture import read_picture
from forgetmi.data.window import FIRST

__all__ = ["DAMAGED", "Decoded", "ImageFault", "read_image", "silence", "split_locator"]


def split_locator(locator: str) -> tuple[str, int | None]:
    """A locator's file and, for "stack.npy#17", the place of the image in the stack."""
    match = re.fullmatch(r"(.+\.npy)#(\d{1,12})", locator, flags=re.IGNORECASE | re.DOTALL)
    if match is None:
        return locator, None
    return match[1], int(match[2])


def read_image(
    locator: str,
    *,
    window: str = FIRST,
    invert: bool = True,
    enough: tuple[int, bool] | None = None,
) -> Decoded:
    """Read one image as grey values, upright and white on black.

    8-bit PNG, JPEG and NPY are divided by 255, such of more bits by their own maximum; NPY arrays of floats must lie in
    [0, 1] already. DICOM films go through modality table or rescaling, window and presentation. Without a window their
    range is from 0 (or the darkest pixel, where that lies below) to the brightest pixel, a few that lie far from all
    others aside. Padding takes no part and is black. Headers that contradict the pixels are corrected where one reading
    fits, which the notice says, and refused otherwise. `docs/images_read.md` has every rule.

    Args:
        locator: Path of a PNG, JPEG, DICOM or NPY file (h, w), told apart by their content, also packed by gzip; or
            "stack.npy#17" for image 17 of an NPY stack (n, h, w), of which only that image is read.
        window: Of a DICOM film: "first" = its first window or VOI table; "2", "3", ... = another one; "none" = its own
            range; "released" = stored values by their own maximum without tables, window and padding, as in the
            published Forget-MI pipeline (negative values shifted up).
        invert: Whether a negative (MONOCHROME1 or an inverse presentation) becomes a positive.
        enough: Side of the image that is wanted, pixels, and whether that is its longest: of JPEG 2000 in DICOM only
            the levels that this needs are decoded, and the image has fewer pixels than the film. None = all.

    Raises:
        ImageFault: The file is absent, damaged, too large, of another kind, or holds no single image. The message has
            no path.

    Source: DICOM PS3.3, C.11; F. Hardan et al., Forget-MI, MICCAI 2025, arXiv:2506.23145, released data loader (commit
    e93fa12).
    """
    file, index = split_locator(locator)
    path = Path(file)

    with silence():
        content = read_content(path)
        if content.kind == "npy":
            return read_array(path, index)
        if index is not None:
            raise ImageFault("the image stack is not an NPY file")
        if content.kind == "picture":
            return read_picture(content.data)
        return read_dicom(content.data, window=window, invert=invert, enough=enough)


@contextmanager
def silence() -> Iterator[None]:
    """Keep the decoders' warnings and log lines to themselves: they may quote what stands in a file."""
    logger = logging.getLogger("pydicom")
    disabled = logger.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = disabled
