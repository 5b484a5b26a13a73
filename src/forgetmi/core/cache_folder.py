"""What lies in the cache, by kind: the names of its folders, and which files in them are forgetmi's own."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# Folders of a cache. Decoded films were in the second one before they were keyed and had checksums.
FILMS, FORMER_FILMS = "decoded-films", "images"
COHORTS, CHECKPOINTS = "synthetic", "checkpoints"

_HEX16, _HEX24 = "[0-9a-f]" * 16, "[0-9a-f]" * 24

# Kind -> patterns of its files. A cache may have been put where other files are: nothing else is ever removed.
_PATTERNS = {
    FILMS: (
        f"{FILMS}/{_HEX16}/*.u16",
        f"{FILMS}/{_HEX16}/*.partial",
        f"{FILMS}/seen.bin",
        f"{FILMS}/*.partial",
        f"{FILMS}/key",
    ),
    FORMER_FILMS: (
        f"{FORMER_FILMS}/{_HEX16}/*.u16",
        f"{FORMER_FILMS}/{_HEX16}/*.json",
        f"{FORMER_FILMS}/{_HEX16}/*.partial",
        f"{FORMER_FILMS}/seen.bin",
        f"{FORMER_FILMS}/.seen.bin.*.partial",
    ),
    COHORTS: (f"{COHORTS}/{_HEX24}/*", f"{COHORTS}/.*.forgetmi.partial/**/*"),
    CHECKPOINTS: (
        f"{CHECKPOINTS}/{_HEX16}/*",
        f"{CHECKPOINTS}/.*.forgetmi.partial/**/*",
        f"{CHECKPOINTS}/.{_HEX16}.*/*",
    ),
}


def files_in_cache(cache: Path, kind: str) -> list[Path]:
    """The files of one kind in a cache, sorted.

    Args:
        cache: The cache's folder.
        kind: One of `FILMS`, `FORMER_FILMS`, `COHORTS`, `CHECKPOINTS`.
    """
    found: set[Path] = set()
    for pattern in _PATTERNS[kind]:
        found.update(path for path in cache.glob(pattern) if path.is_file() or path.is_symlink())
    return sorted(found)


def remove_from_cache(cache: Path, kinds: Iterable[str]) -> dict[str, int]:
    """Remove all files of some kinds, and the folders that are empty then.

    Args:
        cache: The cache's folder.
        kinds: See `files_in_cache`.

    Returns:
        Number of files removed, by kind.

    Raises:
        OSError: A file cannot be removed.
    """
    removed = {}
    for kind in kinds:
        files = files_in_cache(cache, kind)
        for path in files:
            path.unlink(missing_ok=True)

        # From the inside; a folder that holds something else stays.
        folders = {cache / kind}
        for path in files:
            folders.update(path.parents[: len(path.relative_to(cache).parts) - 1])
        for folder in sorted(folders, reverse=True):
            with suppress(OSError):
                folder.rmdir()
        removed[kind] = len(files)
    return removed
