"""The bytes of an image file and what kind of file they are; the kind is told by the content, not by the name."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forgetmi.core.regular_file import open_regular
from forgetmi.data.decoded import ImageFault
from forgetmi.data.image_bounds import most_bytes, too_many_bytes

Kind = Literal["npy", "picture", "dicom"]

NUMPY, GZIP = b"\x93NUMPY", b"\x1f\x8b"
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

# Names that are read as DICOM even without anything that marks it.
ENDINGS = (".dcm", ".dicom")

# The preamble of 128 bytes and the mark after it.
HEAD = 132

# Some files do not know their size.
_SMALLEST_READ = 2**16

# What other files begin with, so that the reason can be named.
_OTHER_KINDS = (
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"RIFF", "a WebP picture or another RIFF file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"PK\x03\x04", "a ZIP archive: unpack it"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a git-lfs pointer: run `git lfs pull`"),
    (b"<", "a page of text"),
)


@dataclass(frozen=True, eq=False)
class Content:
    """What an image file holds.

    Args:
        kind: The kind of image.
        data: All bytes, unpacked; of an NPY file none, as it is mapped instead.
    """

    kind: Kind
    data: bytes


def read_content(path: Path) -> Content:
    """Read an image file, unpacking gzip, and tell its kind.

    Args:
        path: The file.

    Returns:
        Its kind and bytes.

    Raises:
        ImageFault: The file cannot be read, is a pipe or device, is too large, or is no image of a known kind.
    """
    try:
        with open_regular(path) as opened:
            head = opened.read(HEAD)
            packed = head.startswith(GZIP)
            kind = None if packed else kind_of(head, path.name)

            # An array is mapped later. The bound alone would reserve as much memory as the largest film needs.
            opened.seek(0)
            size = max(os.fstat(opened.fileno()).st_size, _SMALLEST_READ)
            data = b"" if kind == "npy" else opened.read(min(size, most_bytes()) + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None

    _bounded(data, "holds")
    return _unpacked(data, path.name) if kind is None else Content(kind, data)


def _unpacked(packed: bytes, name: str) -> Content:
    """The content of a gzip file."""
    try:
        with gzip.open(io.BytesIO(packed)) as opened:
            data = opened.read(most_bytes() + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageFault("the gzip file is truncated or damaged", type(error).__name__) from None
    _bounded(data, "inflates to")

    kind = kind_of(data[:HEAD], name.removesuffix(".gz").removesuffix(".GZ"))
    if kind == "npy":
        raise ImageFault("the NPY file is packed by gzip", do="Unpack it: arrays are mapped.")
    return Content(kind, data)


def kind_of(head: bytes, name: str) -> Kind:
    """What kind of image a file is.

    Args:
        head: Its first 132 bytes.
        name: Its name, which only matters for a DICOM file that has nothing that marks it.

    Raises:
        ImageFault: It is none that can be read; the message says what it looks like.
    """
    if not head:
        raise ImageFault("the image file is empty")
    if head.startswith(NUMPY):
        return "npy"
    if head.startswith((PNG, JPEG)):
        return "picture"
    if head[128:] == b"DICM" or _begins_with_an_element(head):
        return "dicom"

    for mark, words in _OTHER_KINDS:
        if head.startswith(mark):
            raise ImageFault(
                "the file is no PNG, JPEG, NPY or DICOM image",
                f"it looks like {words}",
                "Convert it, or leave its row out.",
            )

    if name.lower().endswith(ENDINGS):
        return "dicom"
    raise ImageFault("the file is no PNG, JPEG, NPY or DICOM image")


def marks_dicom(head: bytes, name: str) -> bool:
    """Whether a file is a DICOM file; see `kind_of`."""
    try:
        return kind_of(head, name) == "dicom"
    except ImageFault:
        return False


def _begins_with_an_element(head: bytes) -> bool:
    """Whether a file begins like a DICOM data set: group 2 or 8, as on discs without the preamble."""
    group, length_or_kind = head[:2], head[4:8]
    if group == b"\x02\0" and length_or_kind[:2] == b"UL":
        return True

    # Group 8 in either byte order, with a value representation or a short length after the element's number.
    order: Literal["little", "big"] = "little" if group == b"\x08\0" else "big"
    if group not in (b"\x08\0", b"\0\x08") or len(head) < 8:
        return False
    named = length_or_kind[:2].isalpha() and length_or_kind[:2].isupper()
    return named or int.from_bytes(length_or_kind, order) < 2**16


def _bounded(data: bytes, doing: str) -> bytes:
    if len(data) > most_bytes():
        raise too_many_bytes(doing)
    return data


def _unreadable(error: OSError | ValueError) -> ImageFault:
    if isinstance(error, OSError):
        return ImageFault(
            "the image file cannot be read",
            error.strerror or type(error).__name__,
            "Check the image folder and the file's permissions.",
        )
    return ImageFault(
        "the image file cannot be read", "no file can have such a name", "Check the image column."
    )
