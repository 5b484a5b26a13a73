"""The index of films: what was read under which path, so that an unchanged file is not read again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from forgetmi.core.file_locks import locked
from forgetmi.core.files import write_bytes
from forgetmi.core.regular_file import open_regular
from forgetmi.data.cache_key import KEY_FILE, TAG, CacheKey
from forgetmi.data.tag_table import Records

# A younger file may change again within the resolution of its modification time. Systems take the time of a change
# from the clock's last tick, at most 10 ms ago; those that count whole seconds need as long as the other time.
_SETTLED_NS = 2 * 10**9
_TICK_NS = 10**7

# The index of films, beside the folders of their pixels.
SEEN = "seen.bin"

_HEADER = b"forgetmi films 2\n"
_CONTENT = 32  # bytes of a content digest
_ENTRY = 2 * TAG + _CONTENT

# Tag of a path, and tag of the file's state when it was read; content digest.
Entries = dict[bytes, bytes]


FilePlace = tuple[str, int]
"""Path of a file, and number of a slice in it or -1."""


@final
@dataclass(frozen=True)
class FileState:
    """A file as it is now.

    Args:
        path: Its absolute path.
        size: Bytes.
        version: Size, times of change, and inode, as one text.
        settled: Whether a change from now on would show in them.
    """

    path: str
    size: int
    version: str
    settled: bool

    @classmethod
    def of(cls, path: Path | str) -> FileState:
        """The state of a file.

        Raises:
            OSError: There is no such file.
        """
        status = os.stat(path)
        now = time.time_ns()

        # Within the tick of its last change, another change would not show: that tick is waited for.
        if now - status.st_mtime_ns > _SETTLED_NS and 0 <= now - status.st_ctime_ns <= _TICK_NS:
            time.sleep(_TICK_NS / 10**9)
            status = os.stat(path)
            now = time.time_ns()

        # The time of the last change of anything cannot be set by a program, unlike that of the content.
        tick = _SETTLED_NS if status.st_ctime_ns % 10**9 == 0 else _TICK_NS
        settled = now - status.st_mtime_ns > _SETTLED_NS and now - status.st_ctime_ns > tick

        version = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        return cls(os.path.abspath(path), status.st_size, version, settled)


@final
class SeenFiles:
    """Content digests of files already read, so that an unchanged file is not read again.

    A file counts as unchanged while its path, size, both times of change and inode are. The file on disk is sealed:
    paths stand in it as keyed tags, and nothing of it can be read without the cache's key. An index that is damaged or
    was sealed under another key is taken as empty, which costs a second reading.

    Args:
        path: File the index is kept in, beside the key's.
        key: The cache's key.
        empty: Whether nothing is read: every file counts as new. For a process that hands on what it saw.
    """

    def __init__(self, path: Path, key: CacheKey, *, empty: bool = False) -> None:
        self._path = path
        self._key = key
        self._stored = _read(path, key, empty=empty)
        self._new: Entries = {}

        # The slices of a stack share a state: its tag is made once.
        self._last_version = "", b""

    def __len__(self) -> int:
        return sum(1 for _ in self._all())

    def get(self, state: FileState, index: int) -> bytes | None:
        """The content digest of a file (index -1) or of a slice of it, if it was read in this state."""
        entry = self._entry(state, index)
        return self._new.get(entry) or self._stored.get(entry)

    def put(self, state: FileState, index: int, content: bytes) -> None:
        """Keep the content digest of a file (index -1) or of a slice of it.

        One that may change again unnoticed is kept as well, but never found by `get`: `contents` has to know it.
        """
        entry = self._entry(state, index)
        if not state.settled:
            entry = entry[:TAG] + self._key.tag("version", b"not settled " + content)

        self._new[entry] = content

    @property
    def new(self) -> Entries:
        """What was put since the file was written last; another process can `take_over` it."""
        return self._new

    def take_over(self, entries: Entries) -> None:
        """Keep what another process saw."""
        self._new.update(entries)

    def save(self) -> None:
        """Add what is new to the file."""
        if self._new:
            self._write(lambda stored: _with_new(stored, _newest(self._new)))
            self._new = {}

    def contents(self, places: Iterable[FilePlace]) -> dict[FilePlace, set[bytes]]:
        """Digests of all contents that were ever read at some places, also of films that were replaced or are gone."""
        place_of = {
            self._path_tag(os.path.abspath(path), index): (path, index) for path, index in places
        }

        found: dict[FilePlace, set[bytes]] = {}
        for entry, content in self._all():
            place = place_of.get(entry[:TAG])
            if place is not None:
                found.setdefault(place, set()).add(content)
        return found

    def all_contents(self) -> set[bytes]:
        """Digests of everything that was read."""
        return {content for _, content in self._all()}

    def forget(self, places: Iterable[FilePlace], contents: set[bytes]) -> int:
        """Remove the entries of some places, and those of contents under any path.

        Args:
            places: Files or slices.
            contents: Content digests.

        Returns:
            The number of entries removed.
        """
        tags = {self._path_tag(os.path.abspath(path), index) for path, index in places}
        removed = 0

        def without(stored: Records) -> bytes:
            nonlocal removed
            kept = []
            for entry, content in stored:
                if entry[:TAG] in tags or content in contents:
                    removed += 1
                else:
                    kept.append(entry + content)
            return b"".join(kept)

        self._write(without)
        return removed

    def _all(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything that is known, what is stored first."""
        for entry, content in self._stored:
            if entry not in self._new:
                yield entry, content
        yield from self._new.items()

    def _write(self, change: Callable[[Records], bytes]) -> None:
        """Read the file, change its records and write it; other processes wait meanwhile."""
        with locked(self._path.with_name(KEY_FILE)):
            # Read again: another process may have changed it since. Two copies would be much memory.
            self._stored = _records(b"")
            content = change(_read(self._path, self._key))
            write_bytes(self._path, self._key.seal(content, _HEADER), private=True)
            self._stored = _records(content)

    def _entry(self, state: FileState, index: int) -> bytes:
        if self._last_version[0] != state.version:
            tag = self._key.tag("version", state.version.encode())
            self._last_version = state.version, tag
        return self._path_tag(state.path, index) + self._last_version[1]

    def _path_tag(self, path: str, index: int) -> bytes:
        # A slice's number cannot be taken for a part of a path: no path holds a zero.
        return self._key.tag("path", os.fsencode(path) + f"\0{index}".encode())


def _newest(entries: Entries) -> Entries:
    """Entries with the last state alone of each content that was read under a path."""
    # Most paths have one entry: nothing is copied for them.
    paths = {entry[:TAG] for entry in entries}
    if len(paths) == len(entries):
        return entries
    del paths

    last = {entry[:TAG] + content: entry for entry, content in entries.items()}
    return {entry: entries[entry] for entry in last.values()}


def _with_new(stored: Records, new: Entries) -> bytes:
    """The records of a file with new entries: of each content under a path the last state alone."""
    changed: dict[int, bytes] = {}
    added = []
    for entry, content in new.items():
        # Records of the same path: one of the same state or content is replaced, and others of the content go
        same = []
        for row in stored.like(entry):
            known, held = stored.record(row)
            if row in changed:
                continue
            if known == entry or (known[:TAG] == entry[:TAG] and held == content):
                same.append(row)
        if not same:
            added.append(entry + content)
            continue
        changed |= dict.fromkeys(same, b"")
        changed[same[0]] = entry + content

    if not changed:
        return b"".join((stored.content, *added))

    # Few records change: what lies between them is taken as it is
    parts, start = [], 0
    for row in sorted(changed):
        parts += [stored.content[start : row * _ENTRY], changed[row]]
        start = (row + 1) * _ENTRY
    return b"".join((*parts, stored.content[start:], *added))


def _records(content: bytes) -> Records:
    """Entries of paths and states, with the content digests that were read."""
    return Records(content, 2 * TAG, _CONTENT)


def _read(path: Path, key: CacheKey, *, empty: bool = False) -> Records:
    """The records of a file; none where it is absent, damaged or sealed under another key, or none are wanted."""
    if empty:
        return _records(b"")
    try:
        with open_regular(path) as file:
            stored = file.read()
    except OSError:
        return _records(b"")

    # What was sealed by this program has whole entries.
    content = key.unseal(stored, _HEADER)
    del stored
    return _records(content or b"")
