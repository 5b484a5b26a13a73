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
_ABANDONED_S = 86_400.0
_SETTLED_NS = (
    2 * 10**9
)  # a younger file may change again within the resolution of its modification time


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
        path = index.with_suffix(".u16")
        contents = tuple(bytes.fromhex(digest) for digest in stored["contents"])
        if path.exists() and path.stat().st_size == 2 * size * size * len(contents):
            shards.append(Shard(path, contents, stored["notices"]))
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
        self._bytes = 2 * size * size
        self._limit = max(1, min(_SHARD_IMAGES, _SHARD_BYTES // self._bytes))
        self._known = {content for shard in read_shards(folder, size) for content in shard.contents}
        self._file: tempfile._TemporaryFileWrapper[bytes] | None = None
        self._contents: list[bytes] = []
        self._notices: dict[str, list[int]] = {}
        for left in folder.glob("*.partial"):
            with suppress(FileNotFoundError):  # a younger one may belong to a living process
                if time.time() - left.stat().st_mtime > _ABANDONED_S:
                    left.unlink()

    def __contains__(self, content: bytes) -> bool:
        return content in self._known

    def add(self, content: bytes, pixels: Stored, notice: str = "") -> None:
        """Append one image under its content digest."""
        if self._file is None:
            self._file = tempfile.NamedTemporaryFile(
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
            file.truncate(
                self._bytes * len(contents)
            )  # a write that failed may have left a part of an image
            file.close()
            digests = [content.hex() for content in contents]
            name = hashlib.sha256("".join(digests).encode()).hexdigest()[:32]
            os.replace(file.name, self._folder / f"{name}.u16")
            index = json.dumps({"contents": digests, "notices": notices})
            write_bytes(self._folder / f"{name}.json", index.encode())
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise


@final
class SeenFiles:
    """Content digests of files already read, so that an unchanged file is not read again.

    A file counts as unchanged while its path, size and modification time are; only a digest of these is stored. Losing
    entries (two processes saving at once) costs a second reading, nothing else.

    Args:
        path: File the digests are kept in.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digests = _read_pairs(path)
        self._new: dict[bytes, bytes] = {}

    @staticmethod
    def key(path: Path) -> tuple[bytes, bool]:
        """Key of a file as it is now, and whether it is old enough to be remembered.

        Raises:
            OSError: There is no such file.
        """
        status = path.stat()
        text = f"{os.path.abspath(path)}\0{status.st_size}\0{status.st_mtime_ns}"
        return hashlib.sha256(text.encode()).digest()[
            :24
        ], time.time_ns() - status.st_mtime_ns > _SETTLED_NS

    def get(self, key: bytes) -> bytes | None:
        """The content digest kept under a 32-byte key."""
        return self._digests.get(key)

    def put(self, key: bytes, content: bytes) -> None:
        """Keep a content digest of 32 bytes under a 32-byte key."""
        self._digests[key] = self._new[key] = content

    def save(self) -> None:
        """Add what is new to the file."""
        if self._new:
            pairs = _read_pairs(self._path) | self._new
            write_bytes(self._path, b"".join(key + content for key, content in pairs.items()))
            self._new = {}


def _read_pairs(path: Path) -> dict[bytes, bytes]:
    stored = path.read_bytes() if path.exists() else b""
    return {
        stored[at : at + 32]: stored[at + 32 : at + 64] for at in range(0, len(stored) - 63, 64)
    }
