"""Equally sized images in one file, found by content: whole or absent, and checked before they are used.

A shard is a file of uint16 pixels, image after image, and an index at its end: a tag of each image's content (see
`forgetmi.data.cache_key`), a checksum of each image's pixels, and what was converted while decoding. The index carries
a tag of its own. Neither a path, an identifier nor a digest that could be tested without the cache's key is written. A
shard is written beside its place, brought to the disk and renamed: nothing half-written is ever read.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.file_locks import take
from forgetmi.core.files import sync, sync_folder
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


@final
class ShardFile:
    """A shard that is being written; it exists once it is published.

    Args:
        folder: Folder of the shards of one preprocessing.
        size: Side of the images, pixels.
        key: The cache's key.
    """

    def __init__(self, folder: Path, size: int, key: CacheKey) -> None:
        self._folder = folder
        self._size = size
        self._key = key

        self._contents: list[bytes] = []
        self._checks = bytearray()
        self._notices: dict[str, list[int]] = {}

        self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - `publish` or `discard` closes it
            dir=folder, suffix=".partial", delete=False
        )
        # As long as this process lives, nobody takes the file for a leftover.
        take(self._file)

    def __len__(self) -> int:
        return len(self._contents)

    @property
    def full(self) -> bool:
        """Whether it holds as many images as a shard may."""
        most = _SHARD_BYTES // (2 * self._size * self._size)
        return len(self) >= max(1, min(_SHARD_IMAGES, most))

    def add(self, content: bytes, pixels: bytes | memoryview, notices: Collection[str]) -> None:
        """Append one image.

        Args:
            content: Tag of its content digest.
            pixels: Its uint16 values.
            notices: What was converted while decoding it.
        """
        self._file.write(pixels)

        for notice in notices:
            self._notices.setdefault(notice, []).append(len(self))
        self._checks += self._key.tag("pixels", pixels)
        self._contents.append(content)

    def publish(self) -> tuple[Shard, Stored]:
        """Bring everything to the disk and give the file its name; the shard and its mapped pixels.

        Raises:
            OSError: The disk is full or cannot be written; nothing is left of the file then.
        """
        file, path = self._file, Path(self._file.name)
        try:
            # A write that failed may have left a part of an image.
            file.seek(2 * self._size * self._size * len(self))
            file.truncate()
            file.write(self._index())
            sync(file)

            # Mapped before it has its name: from then on another process may remove it.
            pixels = self._shard(path).pixels(cast(BinaryIO, file))

            # The name follows from the content: two processes that write the same shard write one file.
            name = self._key.tag("name", b"".join(self._contents)).hex()
            final_path = self._folder / f"{name}{ENDING}"
            os.replace(path, final_path)
            file.close()
            sync_folder(self._folder)
        except BaseException:
            self.discard()
            raise

        return self._shard(final_path), pixels

    def discard(self) -> None:
        """Give the file up."""
        # A full disk may be said once more when the rest of the buffer is written.
        with suppress(OSError):
            self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

    def _shard(self, path: Path) -> Shard:
        return Shard(
            path, self._size, tuple(self._contents), bytes(self._checks), dict(self._notices)
        )

    def _index(self) -> bytes:
        """What stands behind the pixels."""
        stored: dict[str, Any] = {
            "format": _FORMAT,
            "size": self._size,
            "contents": [tag.hex() for tag in self._contents],
            "checks": self._checks.hex(),
            "notices": self._notices,
        }
        index = json.dumps(stored).encode()
        return index + self._key.tag("index", index) + len(index).to_bytes(_LENGTH, "little")


def without_slots(shard: Shard, left_out: Collection[int], key: CacheKey) -> int:
    """Replace a shard by one without some of its images; damaged ones are left out, too.

    The new shard is whole before the old one goes: an interruption leaves the old one, or both. Who has the old one
    mapped goes on reading it.

    Args:
        shard: The shard.
        left_out: Places of the images to leave out.
        key: The cache's key.

    Returns:
        Number of damaged images that were left out besides.

    Raises:
        OSError: The disk is full or cannot be written; the old shard stays.
    """
    # What was said of each image.
    notices_of: dict[int, list[str]] = {}
    for notice, slots in shard.notices.items():
        for slot in slots:
            notices_of.setdefault(slot, []).append(notice)

    damaged = 0
    new = ShardFile(shard.path.parent, shard.size, key)
    try:
        with open_regular(shard.path) as file:
            for slot, content in enumerate(shard.contents):
                if slot in left_out:
                    continue

                pixels = shard.sound_pixels(slot, file, key)
                if pixels is None:
                    damaged += 1
                else:
                    new.add(content, pixels, notices_of.get(slot, ()))
    except BaseException:
        new.discard()
        raise

    # Nothing to leave out: the shard stays. Nothing is left: no new shard.
    if len(new) == len(shard.contents):
        new.discard()
        return 0
    if len(new):
        new.publish()
    else:
        new.discard()
    shard.path.unlink(missing_ok=True)
    sync_folder(shard.path.parent)
    return damaged
