"""A checksum behind the content of a file whose format passes over what follows and checks nothing itself."""

from __future__ import annotations

import hashlib
import os
from io import BufferedReader
from pathlib import Path

from forgetmi.core.regular_file import open_regular

# Stands before the 32 bytes of the digest, at the end of the file.
_MARK = b"forgetmi sha-256"
_LENGTH = len(_MARK) + 32
_CHUNK = 2**20


def add_checksum(path: Path) -> None:
    """Write the SHA-256 of a file's content behind it.

    Use it for files of torch.save, which reads flipped bits of tensors as other numbers: its reader takes no notice of
    what follows the archive.

    Args:
        path: The file, complete.
    """
    with open_regular(path) as file:
        digest = _digest(file, path.stat().st_size)
    with path.open("ab") as file:
        file.write(_MARK + digest)


def is_altered(path: Path) -> bool:
    """Whether a file is another than `add_checksum` left; False where it has no checksum (an earlier version's).

    Raises:
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END) - _LENGTH
        if size < 0:
            return False

        file.seek(size)
        end = file.read(_LENGTH)
        if not end.startswith(_MARK):
            return False

        file.seek(0)
        return _digest(file, size) != end[len(_MARK) :]


def _digest(file: BufferedReader, size: int) -> bytes:
    """SHA-256 of the next bytes of a file."""
    digest = hashlib.sha256()
    while size > 0:
        chunk = file.read(min(size, _CHUNK))
        if not chunk:
            break
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()
