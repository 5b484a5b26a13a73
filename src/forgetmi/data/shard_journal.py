"""What stands in an unfinished shard, image by image, so that a killed process loses none that it had finished.

A journal lies beside the pixels of a shard that is being written. It holds what the shard's index will hold, an entry
an image: the tag of its content, the checksum of its pixels, and what was converted. Each entry has a tag of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import final

from forgetmi.core.file_locks import take
from forgetmi.core.regular_file import open_regular
from forgetmi.data.cache_key import TAG, CacheKey

# Behind the name of the pixels; ends like all unfinished files.
JOURNAL = ".journal.partial"

_LENGTH = 4  # bytes
_FIXED = 2 * TAG + _LENGTH

# Longest list of what was converted in one image, bytes; longest journal that is read.
_MOST_NOTICES = 2**16
_MOST_BYTES = 2**26


@final
class ShardJournal:
    """A journal that is being written.

    Args:
        path: The file; it is made.
        key: The cache's key.
    """

    def __init__(self, path: Path, key: CacheKey) -> None:
        self._key = key
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "wb")
        take(self._file)
        self._images = 0

    def add(self, content: bytes, check: bytes, notices: Collection[str]) -> None:
        """Enter one image, whose pixels were written before.

        Args:
            content: Tag of its content digest.
            check: Checksum of its pixels.
            notices: What was converted while decoding it.
        """
        noticed = json.dumps(list(notices)).encode()
        entry = content + check + len(noticed).to_bytes(_LENGTH, "little") + noticed
        self._file.write(entry + _tag(self._key, self._images, entry))
        self._file.flush()
        self._images += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journal(path: Path, key: CacheKey) -> Iterator[tuple[bytes, bytes, list[str]]]:
    """The images of a journal, in their order, up to the first entry that is not whole.

    Args:
        path: The file.
        key: The cache's key.

    Yields:
        Tag of an image's content digest, checksum of its pixels, what was converted.
    """
    try:
        with open_regular(path) as file:
            stored = file.read(_MOST_BYTES)
    except OSError:
        return

    at = images = 0
    while at + _FIXED <= len(stored):
        length = int.from_bytes(stored[at + 2 * TAG : at + _FIXED], "little")
        end = at + _FIXED + min(length, _MOST_NOTICES)
        entry, tag = stored[at:end], stored[end : end + TAG]
        if _tag(key, images, entry) != tag:
            return

        # What carries the tag was written by this program.
        yield entry[:TAG], entry[TAG : 2 * TAG], json.loads(entry[_FIXED:])
        at, images = end + TAG, images + 1


def _tag(key: CacheKey, number: int, entry: bytes) -> bytes:
    """The tag of an entry at its place."""
    return key.tag("journal", number.to_bytes(8, "little") + entry)
