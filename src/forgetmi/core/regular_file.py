"""Opens regular files only, and reads no more of them than was allowed: a pipe or device is never waited for."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_MEBIBYTE = 2**20


def open_regular(path: Path | str) -> BufferedReader:
    """Open a file for reading, unless it is a pipe, a device, a socket or a folder.

    Use it wherever a person names a file: opening a pipe would wait for its writer, a device may never end.

    Args:
        path: The file; links are followed.

    Returns:
        The opened file, at its start.

    Raises:
        OSError: There is no such file, it may not be read, or it is not a regular file (`strerror` says so in words).
    """
    # Without O_NONBLOCK, opening a pipe waits until somebody writes; regular files do not mind it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    flags |= getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)

    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path | str, *, limit: int) -> bytes:
    """The whole content of a regular file that has at most `limit` bytes.

    Args:
        path: The file.
        limit: Most bytes that are read.

    Returns:
        Its content.

    Raises:
        OSError: As `open_regular`, or the file has more bytes (`strerror` says so in words).
    """
    with open_regular(path) as file:
        # One byte more than allowed shows that there is more. No more memory is asked for than the stated size, and
        # files of the system that state none are read all the same.
        stated = os.fstat(file.fileno()).st_size
        content = file.read(min(limit, stated) + 1)
        while len(content) <= limit and (more := file.read(_MEBIBYTE)):
            content += more

    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {_size(limit)}, the most that is read")
    return content


def _size(number: int) -> str:
    """A number of bytes in words."""
    if number >= _MEBIBYTE:
        return f"{number // _MEBIBYTE} MiB"
    return f"{number} bytes"
