"""The image column: paths become absolute locators, and every file must be there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from forgetmi.cohort.raw_rows import RawRows
from forgetmi.cohort.row_checks import Findings, blank, stripped
from forgetmi.core.arrays import Strings, codes
from forgetmi.data.decode import split_locator

# Whether image files may be absent; see `absent_images_allowed`.
_ABSENT_ALLOWED = ContextVar("absent images allowed", default=False)


@contextmanager
def absent_images_allowed() -> Iterator[None]:
    """Read cohorts whose image files are gone, as long as the block lasts: their locators are kept all the same.

    Use it where films are to be forgotten, not read: their files may have been deleted before.
    """
    token = _ABSENT_ALLOWED.set(True)
    try:
        yield
    finally:
        _ABSENT_ALLOWED.reset(token)


def read_locators(
    rows: RawRows, findings: Findings, image_root: Path, *, missing_allowed: bool = False
) -> Strings:
    """Absolute image locators of n rows, "" without images; a fault for each file that is not there.

    Args:
        rows: The raw rows.
        findings: Takes the faults.
        image_root: Folder that relative paths start from.
        missing_allowed: Whether rows may have no film.
    """
    if rows.image is None:
        return np.full(len(rows.patient), "", dtype=object)

    cells = stripped(rows.image)
    if not missing_allowed:
        do = "Leave out rows without an image, or keep them with --cohort.missing allow."
        findings.add(blank(cells), "image", "the image is blank", do=do)

    # Each distinct path once
    root = str(image_root.resolve())
    code, distinct = codes(cells)
    paths = [os.path.join(root, cell) if cell else "" for cell in distinct]
    locators = np.array(paths, dtype=object)

    if _ABSENT_ALLOWED.get():
        return locators[code]

    # Files that are not there, with each folder listed once
    folders: dict[str, frozenset[str]] = {}
    absent = np.zeros(len(paths), dtype=bool)
    for index, path in enumerate(paths):
        absent[index] = bool(path) and not _is_file(path, folders)
    findings.add(
        np.flatnonzero(absent[code]),
        "image",
        "the image file was not found",
        do="Check the image folder (option image_root).",
    )
    return locators[code]


def _is_file(locator: str, folders: dict[str, frozenset[str]]) -> bool:
    """Whether the file exists; each folder is listed once, which is much faster than a look-up a file.

    Args:
        locator: Path of an image, or of an image in a stack.
        folders: Folder to the names of its files, filled on the way.
    """
    folder, name = os.path.split(split_locator(locator)[0])
    if folder not in folders:
        try:
            with os.scandir(folder) as entries:
                folders[folder] = frozenset(entry.name for entry in entries if _is_there(entry))
        except (OSError, ValueError):
            folders[folder] = frozenset()
    return name in folders[folder]


def _is_there(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a file; a link to itself is none."""
    try:
        return entry.is_file()
    except OSError:
        return False
