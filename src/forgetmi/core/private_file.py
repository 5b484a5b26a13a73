"""Reads a secret from a file that its owner alone can open; one that others can open is refused."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from forgetmi.core.regular_file import open_regular, read_regular

# Rights of the group and of everybody
_OTHERS = 0o077


class ExposedFile(OSError):
    """A secret lies in a file that others than its owner can read or change."""

    do = "Close it to others: chmod 600 on that file; then make a new one if somebody may have read it."


def read_private(path: Path, *, limit: int) -> bytes:
    """The whole content of a file with a secret.

    Use it for keys. Where the system has no such rights (Windows), it is `read_regular`.

    Args:
        path: The file; links are followed.
        limit: Most bytes that are read.

    Returns:
        Its content.

    Raises:
        ExposedFile: Its group or everybody has a right to it.
        OSError: As `forgetmi.core.regular_file.read_regular`.
    """
    if os.name == "posix":
        with open_regular(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & _OTHERS:
            raise ExposedFile(errno.EACCES, f"others than its owner can open it (mode {mode:03o})")

    return read_regular(path, limit=limit)
