"""A shard that is being written: image after image, whole once it is published, taken up again where it was killed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, cast, final

from forgetmi.core.file_locks import take
from forgetmi.core.files import sync, sync_folder
from forgetmi.core.regular_file import open_regular
from forgetmi.data.cache_key import CacheKey
from forgetmi.data.shard_journal import JOURNAL, ShardJournal, read_journal
from forgetmi.data.shards import ENDING, Shard, Stored, capacity, index_of

_PARTIAL = ".partial"


@final
class ShardFile:
    """A shard that is being written; it exists once it is published.

    Args:
        folder: Folder of the shards of one preprocessing.
        size: Side of the images, pixels.
        key: The cache's key.
        resumable: Whether what was written is kept when this process is killed; see `recover`.
    """

    def __init__(self, folder: Path, size: int, key: CacheKey, *, resumable: bool = False) -> None:
        self._folder = folder
        self._size = size
        self._key = key

        self._contents: list[bytes] = []
        self._checks = bytearray()
        self._notices: dict[str, list[int]] = {}

        self._file: IO[bytes] = tempfile.NamedTemporaryFile(  # noqa: SIM115 - `publish` or `discard` closes it
            dir=folder, suffix=_PARTIAL, delete=False
        )
        # As long as this process lives, nobody takes the file for a leftover.
        take(self._file)
        self._path = Path(self._file.name)
        self._journal: ShardJournal | None = None
        try:
            if resumable:
                self._journal = ShardJournal(_journal_of(self._path), key)
        except OSError:
            self.discard()
            raise

    @classmethod
    def _of_leftover(cls, file: IO[bytes], path: Path, size: int, key: CacheKey) -> ShardFile:
        """What a killed process left, opened and taken, with the images that are whole."""
        shard = cls.__new__(cls)
        shard._folder, shard._size, shard._key = path.parent, size, key
        shard._contents, shard._checks, shard._notices = [], bytearray(), {}
        shard._file, shard._path, shard._journal = file, path, None

        # An image is taken where its pixels are those that the journal names; the last may be cut off.
        image_bytes = 2 * size * size
        for content, check, notices in read_journal(_journal_of(path), key):
            pixels = file.read(image_bytes)
            if len(pixels) < image_bytes or key.tag("pixels", pixels) != check:
                break
            shard._enter(content, check, notices)
        return shard

    def __len__(self) -> int:
        return len(self._contents)

    @property
    def full(self) -> bool:
        """Whether it holds as many images as a shard may."""
        return len(self) >= capacity(self._size)

    def add(self, content: bytes, pixels: bytes | memoryview, notices: Collection[str]) -> None:
        """Append one image.

        Args:
            content: Tag of its content digest.
            pixels: Its uint16 values.
            notices: What was converted while decoding it.

        Raises:
            OSError: The disk is full or cannot be written; the image is not in the shard then.
        """
        self._file.write(pixels)
        check = self._key.tag("pixels", pixels)

        # The journal goes last: what it names was handed to the system before, and outlives this process.
        if self._journal is not None:
            self._file.flush()
            self._journal.add(content, check, notices)
        self._enter(content, check, notices)

    def publish(self) -> tuple[Shard, Stored]:
        """Bring everything to the disk and give the file its name; the shard and its mapped pixels.

        Raises:
            OSError: The disk is full or cannot be written; nothing is left of the file then.
        """
        file, path = self._file, self._path
        try:
            # A write that failed may have left a part of an image.
            file.seek(2 * self._size * self._size * len(self))
            file.truncate()
            file.write(index_of(self._shard(path), self._key))
            sync(file)

            # Mapped before it has its name: from then on another process may remove it.
            pixels = self._shard(path).pixels(cast(BinaryIO, file))

            # The name follows from the content: two processes that write the same shard write one file.
            name = self._key.tag("name", b"".join(self._contents)).hex()
            final_path = self._folder / f"{name}{ENDING}"
            os.replace(path, final_path)
            self._drop_journal()
            file.close()
            sync_folder(self._folder)
        except BaseException:
            self.discard()
            raise

        return self._shard(final_path), pixels

    def discard(self) -> None:
        """Give the file up."""
        self._drop_journal()

        # A full disk may be said once more when the rest of the buffer is written.
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _enter(self, content: bytes, check: bytes, notices: Collection[str]) -> None:
        """Count one image that was written."""
        for notice in notices:
            self._notices.setdefault(notice, []).append(len(self))
        self._checks += check
        self._contents.append(content)

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
        _journal_of(self._path).unlink(missing_ok=True)

    def _shard(self, path: Path) -> Shard:
        return Shard(
            path, self._size, tuple(self._contents), bytes(self._checks), dict(self._notices)
        )


def recover(folder: Path, size: int, key: CacheKey) -> int:
    """Publish the images that killed processes had finished, and remove the rest of what they left.

    Args:
        folder: Folder of the shards of one preprocessing.
        size: Side of the images, pixels.
        key: The cache's key.

    Returns:
        The number of images.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    recovered = 0
    for journal in folder.glob(f"*{JOURNAL}"):
        path = journal.with_name(journal.name.removesuffix(JOURNAL) + _PARTIAL)
        try:
            file = path.open("r+b")
        except FileNotFoundError:
            # It was published; the process was killed before it removed the journal.
            journal.unlink(missing_ok=True)
            continue
        except OSError:
            continue

        # Who could take it has it alone: neither its writer nor another process lives.
        with file:
            if not take(file) or not _is_still_there(file, path):
                continue
            shard = ShardFile._of_leftover(file, path, size, key)
            if len(shard):
                shard.publish()
            else:
                shard.discard()
            recovered += len(shard)
    return recovered


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_PARTIAL) + JOURNAL)


def _is_still_there(file: IO[bytes], path: Path) -> bool:
    """Whether an opened file still has its name: it may have been published since."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def without_slots(shard: Shard, left_out: Collection[int], key: CacheKey) -> int:
    """Replace a shard by one without some of its images; damaged ones are left out, too.

    The new shard is whole before the old one goes: an interruption leaves the old one, or both. Who has the old one
    mapped goes on reading it.

    Args:
        shard: The shard.
        left_out: Places of the images to leave out.
        key: The cache's key.

    Returns:
        Number of damaged images that were left out besides.

    Raises:
        OSError: The disk is full or cannot be written; the old shard stays.
    """
    # What was said of each image.
    notices_of: dict[int, list[str]] = {}
    for notice, slots in shard.notices.items():
        for slot in slots:
            notices_of.setdefault(slot, []).append(notice)

    damaged = 0
    new = ShardFile(shard.path.parent, shard.size, key)
    try:
        with open_regular(shard.path) as file:
            for slot, content in enumerate(shard.contents):
                if slot in left_out:
                    continue

                pixels = shard.sound_pixels(slot, file, key)
                if pixels is None:
                    damaged += 1
                else:
                    new.add(content, pixels, notices_of.get(slot, ()))
    except BaseException:
        new.discard()
        raise

    # Nothing to leave out: the shard stays. Nothing is left: no new shard.
    if len(new) == len(shard.contents):
        new.discard()
        return 0
    if len(new):
        new.publish()
    else:
        new.discard()
    shard.path.unlink(missing_ok=True)
    sync_folder(shard.path.parent)
    return damaged
