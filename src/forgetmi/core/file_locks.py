"""Locks on files, which the system gives back when a process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time do what stands in the block; others wait.

    Use it to read, change and write a file that others change, too. A process that ends gives the lock back, however it
    ends. Where the system has no such locks, nobody waits.

    Args:
        path: A file for this alone; it is made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def take(file: IO[bytes]) -> bool:
    """Mark an open file as in use, until it is closed or this process ends; see `is_taken`.

    Returns:
        Whether it could be marked: nobody else has it, and the system has such marks.
    """
    return _lock(file.fileno(), wait=False)


@contextmanager
def taken_folder(path: Path) -> Iterator[None]:
    """Mark a folder as in use for the block, or until this process ends; see `is_taken`."""
    if fcntl is None:
        yield
        return

    handle = os.open(path, os.O_RDONLY)
    try:
        _lock(handle, wait=False)
        yield
    finally:
        os.close(handle)


def is_taken(path: Path) -> bool:
    """Whether a living process has taken a file or a folder; True where that cannot be found out.

    Raises:
        FileNotFoundError: It is not there.
    """
    if fcntl is None:
        return True

    # A folder cannot be opened for writing
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        return not _lock(handle, wait=False)
    finally:
        os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file; whether that succeeded."""
    if fcntl is None:
        return False

    # A file system without locks: as if there were none.
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
