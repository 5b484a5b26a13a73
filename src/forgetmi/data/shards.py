"""Equally sized images in one file, found by content: whole or absent, and checked before they are used.

A shard is a file of uint16 pixels, image after image, and an index at its end: a tag of each image's content (see
`forgetmi.data.cache_key`), a checksum of each image's pixels, and what was converted while decoding. The index carries
a tag of its own. Neither a path, an identifier nor a digest that could be tested without the cache's key is written. A
shard is written beside its place, brought to the disk and renamed: nothing half-written is ever read.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.regular_file import open_regular
from forgetmi.data.cache_key import TAG, CacheKey

Stored = npt.NDArray[np.uint16]

ENDING = ".u16"

# Most images and most bytes of pixels of one shard.
_SHARD_IMAGES = 16_384
_SHARD_BYTES = 2**30

_FORMAT = "forgetmi shard 3"

# At the end of the file: the index as JSON, its tag, its length in bytes.
_LENGTH = 8
_TAIL = TAG + _LENGTH

# Longest index that is read, bytes; that of a full shard of 16,384 images has 1.2 MB and its notices.
_MOST_INDEX = 2**26


@final
@dataclass(frozen=True, eq=False)
class Shard:
    """One finished shard whose index is sound; each image still has to be checked.

    Args:
        path: Its file.
        size: Side of its images, pixels.
        contents: Tag of each image's content digest.
        checks: Tags of all images' pixels, one after another.
        notices: What was converted while decoding, with the places concerned.
    """

    path: Path
    size: int
    contents: tuple[bytes, ...]
    checks: bytes
    notices: dict[str, list[int]]

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return 2 * self.size * self.size

    def pixels(self, file: BinaryIO) -> Stored:
        """uint16[m, size, size], memory-mapped; they stay readable when the file is closed, replaced or removed.

        Args:
            file: The shard, opened.
        """
        shape = (len(self.contents), self.size, self.size)
        return np.memmap(file, np.uint16, mode="r", shape=shape)

    def sound_pixels(self, slot: int, file: BinaryIO, key: CacheKey) -> bytes | None:
        """The pixels of one image as bytes, if they are those that were written; else None.

        Args:
            slot: Place of the image.
            file: The shard, opened. It is read, not mapped: a sector that cannot be read is an answer then, too.
            key: The cache's key.
        """
        try:
            file.seek(slot * self.image_bytes)
            pixels = file.read(self.image_bytes)
        except OSError:
            return None

        check = self.checks[slot * TAG : (slot + 1) * TAG]
        sound = len(pixels) == self.image_bytes and key.tag("pixels", pixels) == check
        return pixels if sound else None


def read_shard(path: Path, key: CacheKey) -> Shard | None:
    """A shard's index; None where the file is damaged, was written under another key, or is of another form.

    Args:
        path: The file.
        key: The cache's key.

    Raises:
        OSError: There is no such file, or it may not be read.
    """
    with open_regular(path) as file:
        end = file.seek(0, os.SEEK_END)
        if end < _TAIL:
            return None

        # From the end: how long the index is, its tag, the index.
        file.seek(end - _TAIL)
        tag, length = file.read(TAG), int.from_bytes(file.read(_LENGTH), "little")
        if length > min(_MOST_INDEX, end - _TAIL):
            return None
        file.seek(end - _TAIL - length)
        index = file.read(length)

    # What carries the tag was written by this program: it needs no further check than that of its form.
    if key.tag("index", index) != tag:
        return None
    stored = json.loads(index)
    if stored["format"] != _FORMAT:
        return None

    shard = Shard(
        path,
        stored["size"],
        contents=tuple(bytes.fromhex(tag) for tag in stored["contents"]),
        checks=bytes.fromhex(stored["checks"]),
        notices=stored["notices"],
    )
    whole = len(shard.contents) * shard.image_bytes + length + _TAIL
    return shard if whole == end else None


def capacity(size: int) -> int:
    """Most images of a shard.

    Args:
        size: Side of the images, pixels.
    """
    return max(1, min(_SHARD_IMAGES, _SHARD_BYTES // (2 * size * size)))


def index_of(shard: Shard, key: CacheKey) -> bytes:
    """What stands behind the pixels of a shard."""
    stored: dict[str, Any] = {
        "format": _FORMAT,
        "size": shard.size,
        "contents": [tag.hex() for tag in shard.contents],
        "checks": shard.checks.hex(),
        "notices": shard.notices,
    }
    index = json.dumps(stored).encode()
    return index + key.tag("index", index) + len(index).to_bytes(_LENGTH, "little")
