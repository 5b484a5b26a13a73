"""Files that are whole or unchanged, and where things that can be made again are kept."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, ForgetMIError

# Error numbers of the system: no space left, and no right to write.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR)


def default_cache() -> Path:
    """The folder for what can be made again: $FORGETMI_CACHE, else forgetmi under $XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("FORGETMI_CACHE")
    if chosen:
        return Path(chosen)

    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "forgetmi"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: a reader sees the old content or the new, never a part."""
    # In the same folder, because a file can be renamed in place within one file system only.
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=".partial", delete=False
    ) as file:
        try:
            file.write(content)
            file.close()

            # Temporary files are private; results are as readable as any new file.
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


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
