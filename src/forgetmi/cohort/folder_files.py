"""The files below a folder as hospitals keep them: behind links, too, and without what macOS leaves beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from forgetmi.core.errors import CohortError, Fault

# Files and folders that a walk may meet; a link to the root of a disk is a mistake, not a cohort.
MOST_FILES = 5_000_000

# What passed-over files are, for notices that count them
APPLE = "files of macOS (._*, .DS_Store, __MACOSX) are passed over"
BROKEN = "links lead nowhere and are passed over"

_MACOS_FOLDER = "__MACOSX"
_MACOS_FILES = {".DS_Store"}


@dataclass(frozen=True)
class FolderFiles:
    """What lies below a folder.

    Args:
        paths: Every file, sorted within its folder, folders after files.
        apple: Number of files of macOS (._*, .DS_Store, all in __MACOSX) that were passed over.
        broken: Number of links that lead nowhere.
    """

    paths: tuple[Path, ...]
    apple: int = 0
    broken: int = 0


def files_below(folder: Path, option: str) -> FolderFiles:
    """Every file below a folder, at any depth; links are followed, and each folder is read once.

    Use it where a reader looks for files by their names.

    Args:
        folder: Where to begin.
        option: The option that names it, for messages.

    Raises:
        CohortError: It is no folder, a folder cannot be read, or there are more files than `MOST_FILES`.
    """
    if not folder.is_dir():
        raise CohortError(
            Fault("there is no such folder", where=f"option {option}", do="Check the path.")
        )

    paths: list[Path] = []
    seen: set[tuple[int, int]] = set()
    apple = broken = met = 0

    # A list instead of recursion: depth is the disk's, not Python's.
    todo = [folder]
    while todo:
        current = todo.pop()
        entries = _entries(current, seen, option)
        met += len(entries)
        if met > MOST_FILES:
            raise CohortError(
                Fault(
                    f"more than {MOST_FILES:,} files lie below the folder",
                    where=f"option {option}",
                    do="Name the folder of the collection itself.",
                )
            )

        folders = []
        for name, is_folder, exists in entries:
            path = current / name
            if is_apple(name):
                apple += _number_of_files(path, option) if is_folder else 1
            elif not exists:
                broken += 1
            elif is_folder:
                folders.append(path)
            else:
                paths.append(path)
        todo += reversed(folders)
    return FolderFiles(tuple(paths), apple, broken)


def _number_of_files(folder: Path, option: str) -> int:
    """How many files lie below a folder of macOS."""
    inside = files_below(folder, option)
    return len(inside.paths) + inside.apple


def is_apple(name: str) -> bool:
    """Whether macOS made a file or folder of that name, beside those that hold the data."""
    return name.startswith("._") or name == _MACOS_FOLDER or name in _MACOS_FILES


def counted(count: int, what: str) -> tuple[str, ...]:
    """A notice, or none where there is nothing to count."""
    return (f"{count} {what}",) if count else ()


def _entries(folder: Path, seen: set[tuple[int, int]], option: str) -> list[tuple[str, bool, bool]]:
    """Name of each entry of a folder, whether it is a folder, whether it is there; none of one that was read before."""
    try:
        # Links may lead back to where the walk came from.
        status = folder.stat()
        place = (status.st_dev, status.st_ino)
        if place in seen:
            return []
        seen.add(place)

        with os.scandir(folder) as entries:
            found = [(entry.name, *_kind(entry)) for entry in entries]
    except OSError as error:
        raise CohortError(
            Fault(
                "a folder cannot be read",
                where=f"option {option}",
                why=error.strerror or type(error).__name__,
                do="Check that every folder in it can be read.",
            )
        ) from None
    return sorted(found)


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Whether an entry is a folder, and whether it is there; links may lead nowhere, or to themselves."""
    try:
        return entry.is_dir(), not entry.is_symlink() or os.path.exists(entry.path)
    except OSError:
        return False, False
