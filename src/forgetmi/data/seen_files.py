"""Content digests of files already read, so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import final

from forgetmi.core.files import write_bytes

# A younger file may change again within the resolution of its modification time.
_SETTLED_NS = 2 * 10**9

_KEY = 32  # bytes
_PAIR = 64  # bytes of a key and its digest


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
        key = hashlib.sha256(text.encode()).digest()[:24]

        age = time.time_ns() - status.st_mtime_ns
        return key, age > _SETTLED_NS

    def get(self, key: bytes) -> bytes | None:
        """The content digest kept under a 32-byte key."""
        return self._digests.get(key)

    def put(self, key: bytes, content: bytes) -> None:
        """Keep a content digest of 32 bytes under a 32-byte key."""
        self._digests[key] = content
        self._new[key] = content

    def save(self) -> None:
        """Add what is new to the file."""
        if not self._new:
            return

        # Read again: another process may have added some meanwhile.
        pairs = _read_pairs(self._path) | self._new
        write_bytes(self._path, b"".join(key + content for key, content in pairs.items()))
        self._new = {}


def _read_pairs(path: Path) -> dict[bytes, bytes]:
    stored = path.read_bytes() if path.exists() else b""

    pairs = {}
    for start in range(0, len(stored) - _PAIR + 1, _PAIR):
        pair = stored[start : start + _PAIR]
        pairs[pair[:_KEY]] = pair[_KEY:]
    return pairs
