"""A folder of files that were made once and are used again, only as long as they are as they were made."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from forgetmi.core.errors import ForgetMIError
from forgetmi.core.files import private_folder, sync, sync_folder
from forgetmi.core.json_text import read_json
from forgetmi.core.partial_files import unfinished_folder
from forgetmi.core.regular_file import open_regular

logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"
_MOST_CHECKSUMS = 2**20


def made_once(directory: Path, make: Callable[[Path], None]) -> None:
    """Make a folder unless it is there and sound; one in which a bit was changed is made again.

    Use it for results that are kept in the cache. The folder appears complete or not at all, for its owner alone; where
    two processes make the same one, the first to finish wins.

    Args:
        directory: The folder. The folder above is closed to others.
        make: Makes the files in a folder it is given, which does not exist yet.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    if is_sound(directory):
        return

    private_folder(directory.parent)
    with unfinished_folder(directory) as partial:
        # A damaged one moves away in one step.
        if directory.exists():
            logger.warning("a damaged folder of the cache is made again")
            with suppress(FileNotFoundError):
                os.rename(directory, partial / "damaged")

        made = partial / "made"
        make(made)
        _close(made)
        try:
            os.rename(made, directory)
        except OSError:
            # A faster process has made the same one: its work stands.
            if not is_sound(directory):
                raise
        sync_folder(directory.parent)


def is_sound(directory: Path) -> bool:
    """Whether a folder holds the files it was made with, bit for bit; each is read once."""
    try:
        path = directory / CHECKSUMS
        stored = read_json(
            path, what="the checksums", do="Remove the folder.", limit=_MOST_CHECKSUMS
        )
        return stored == _checksums(directory)
    except (OSError, ForgetMIError):
        return False


def _checksums(directory: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by name."""
    checksums = {}
    for path in sorted(directory.iterdir()):
        if path.name != CHECKSUMS:
            with open_regular(path) as file:
                checksums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return checksums


def _close(made: Path) -> None:
    """Note the checksums of a folder, close it to others and bring it to the disk."""
    (made / CHECKSUMS).write_text(json.dumps(_checksums(made)), encoding="utf-8")

    for path in made.iterdir():
        path.chmod(0o600)
        with path.open("rb") as file:
            sync(file)
    made.chmod(0o700)
    sync_folder(made)
