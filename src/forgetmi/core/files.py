"""Files that are whole or unchanged, and where things that can be made again are kept."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from forgetmi.core.errors import Fault, ForgetMIError
from forgetmi.core.partial_files import whole_file

# Error numbers of the system: no space left, and no right to write.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR)


def default_cache() -> Path:
    """The folder for what can be made again: $FORGETMI_CACHE, else forgetmi under $XDG_CACHE_HOME or ~/.cache.

    Raises:
        ForgetMIError: Neither is set, and the user has no home folder.
    """
    chosen = os.environ.get("FORGETMI_CACHE")
    if chosen:
        return Path(chosen)

    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return Path(home) / "forgetmi"

    try:
        return Path.home() / ".cache" / "forgetmi"
    except RuntimeError:
        raise ForgetMIError(
            Fault(
                "there is no folder for the cache",
                why="HOME is not set, and the system knows no home folder of this user",
                do="Name one in the environment variable FORGETMI_CACHE.",
            )
        ) from None


def private_folder(path: Path) -> Path:
    """Make a folder that its owner alone can open; one that is there already is closed to others.

    Use it for folders of the cache. Folders above are made as private as this one, but never changed.

    Args:
        path: The folder.

    Returns:
        The same path.

    Raises:
        OSError: It cannot be made or changed.
    """
    # `Path.mkdir` gives its mode to the last folder alone.
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)

    # A folder of another user is left to its owner: what cannot be read in it is said later.
    status = path.stat()
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    if mine and status.st_mode & 0o077:
        path.chmod(0o700)
    return path


def write_bytes(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a whole file or nothing: a reader sees the old content or the new, never a part.

    Args:
        path: The file; its folder exists.
        content: All of it.
        private: Whether its owner alone may read it. Such a file is also on the disk when this returns, so that a power
            failure leaves the old content or the new, too.
    """
    with whole_file(path, synced=private, mode=0o600 if private else 0o666) as file:
        file.write(content)
    if private:
        sync_folder(path.parent)


def sync(file: IO[bytes]) -> None:
    """Bring all that was written to a file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: after this, a file that was renamed there has its new name."""
    # Not every system opens folders; those that do not keep names without being asked.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return

    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; the folder is made if it is missing.

    Raises:
        ForgetMIError: The disk is full or the folder cannot be written.
    """
    with full_disk_explained(path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write stable JSON atomically; NaN is refused."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    write_text(path, f"{text}\n")


@contextmanager
def full_disk_explained(name: str) -> Iterator[None]:
    """Turn the system's write errors into one clear fault.

    Args:
        name: What was being written, for the message.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise ForgetMIError(
                Fault(
                    "the disk is full",
                    where=name,
                    why="nothing was half-written; finished stages are kept",
                    do="Free some space and give the same command again; it goes on where it stopped.",
                )
            ) from error

        if error.errno in _FORBIDDEN:
            raise ForgetMIError(
                Fault(
                    "the output cannot be written",
                    where=name,
                    why=error.strerror or "",
                    do="Choose another --out.",
                )
            ) from error

        raise
