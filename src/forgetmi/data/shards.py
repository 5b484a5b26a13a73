"""Equally sized images on disk, found by content: immutable shards that several processes may write without a lock.

A shard is a file of uint16 pixels and, written after it, a JSON index with the content digest of each slot. A shard
exists once its index does: nothing half-written is ever read, and shards finished before an interruption are kept.
Names are digests of content; neither an image's path nor an identifier is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from forgetmi.core.files import write_bytes

Stored = npt.NDArray[np.uint16]

_SHARD_IMAGES = 16_384
_SHARD_BYTES = 2**30

# Seconds after which an unfinished file belongs to no living process.
_ABANDONED_S = 86_400.0


@final
@dataclass(frozen=True)
class Shard:
    """One finished shard.

    Args:
        path: File of uint16 pixels.
        contents: Content digest of each slot.
        notices: What was converted while decoding, with the slots concerned.
    """

    path: Path
    contents: tuple[bytes, ...]
    notices: dict[str, list[int]]

    def pixels(self, size: int) -> Stored:
        """uint16[m, size, size], memory-mapped."""
        return np.memmap(self.path, np.uint16, mode="r", shape=(len(self.contents), size, size))


def read_shards(folder: Path, size: int) -> list[Shard]:
    """All finished shards in a folder, by name; one that is damaged or whose pixels are missing is passed over."""
    shards = []
    for index in sorted(folder.glob("*.json")):
        try:
            stored = json.loads(index.read_bytes())
        except ValueError:
            continue

        # Pixels that were cut short would be read as black.
        contents = tuple(bytes.fromhex(digest) for digest in stored["contents"])
        pixels = index.with_suffix(".u16")
        if not pixels.exists() or pixels.stat().st_size != 2 * size * size * len(contents):
            continue

        shards.append(Shard(pixels, contents, stored["notices"]))
    return shards


@final
class ShardWriter:
    """Adds images to a folder of shards; `close` publishes what was added.

    Args:
        folder: Folder of one preprocessing; it exists.
        size: Side of the images, pixels.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._image_bytes = 2 * size * size
        self._limit = max(1, min(_SHARD_IMAGES, _SHARD_BYTES // self._image_bytes))

        # What every finished shard holds.
        self._known: set[bytes] = set()
        for shard in read_shards(folder, size):
            self._known.update(shard.contents)

        # The shard being written.
        self._file: tempfile._TemporaryFileWrapper[bytes] | None = None
        self._contents: list[bytes] = []
        self._notices: dict[str, list[int]] = {}

        _remove_abandoned(folder)

    def __contains__(self, content: bytes) -> bool:
        return content in self._known

    def add(self, content: bytes, pixels: Stored, notice: str = "") -> None:
        """Append one image under its content digest."""
        if self._file is None:
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - `close` closes it
                dir=self._folder, suffix=".partial", delete=False
            )
        self._file.write(pixels.data)

        if notice:
            self._notices.setdefault(notice, []).append(len(self._contents))
        self._contents.append(content)
        self._known.add(content)

        if len(self._contents) >= self._limit:
            self.close()

    def close(self) -> None:
        """Publish the images added since the last shard: pixels first, then the index that makes them exist."""
        if self._file is None:
            return

        file, contents, notices = self._file, self._contents, self._notices
        self._file, self._contents, self._notices = None, [], {}
        try:
            # A write that failed may have left a part of an image.
            file.truncate(self._image_bytes * len(contents))
            file.close()

            # The name is a digest of the content: two processes that write the same shard write one file.
            digests = [content.hex() for content in contents]
            name = hashlib.sha256("".join(digests).encode()).hexdigest()[:32]
            os.replace(file.name, self._folder / f"{name}.u16")

            index = json.dumps({"contents": digests, "notices": notices})
            write_bytes(self._folder / f"{name}.json", index.encode())
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise


def _remove_abandoned(folder: Path) -> None:
    """Remove what interrupted processes left; a younger file may belong to a living one."""
    for leftover in folder.glob("*.partial"):
        # Another process may remove it first.
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_S:
                leftover.unlink()
