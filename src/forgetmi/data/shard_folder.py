"""All shards of one preprocessing: found by content, each image checked once, damaged ones forgotten."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, final

from forgetmi.core.regular_file import open_regular
from forgetmi.data.cache_key import CacheKey
from forgetmi.data.decoded import AND
from forgetmi.data.shard_file import ShardFile, recover, without_slots
from forgetmi.data.shards import ENDING, Shard, Stored, read_shard
from forgetmi.data.tag_table import TagPlaces

logger = logging.getLogger(__name__)

# Seconds after which an unfinished file belongs to no living process.
_ABANDONED_S = 86_400.0

# A place is kept as one number, because there may be millions: that of the shard times this, plus that in the shard.
_SHARD = 2**32


def read_shards(folder: Path, key: CacheKey) -> tuple[list[Shard], int]:
    """All sound shards of a folder, by name, and how many others were removed.

    One whose index is damaged, or was written under another key, is removed: nothing could ever find it again.

    Args:
        folder: Folder of one preprocessing.
        key: The cache's key.
    """
    shards = []
    removed = 0

    for path in sorted(folder.glob(f"*{ENDING}")):
        try:
            shard = read_shard(path, key)
        except OSError:
            # Another process may have replaced it; what cannot be read is not served.
            continue

        if shard is not None:
            shards.append(shard)
            continue

        logger.warning(
            "a damaged shard of the image cache is removed; its images are decoded again"
        )
        with suppress(OSError):
            path.unlink()
            removed += 1
    return shards, removed


@final
class ShardFolder:
    """Images of one preprocessing on disk: finds, checks and adds them; several processes may do so without a lock.

    `close` publishes what was added and replaces shards in which damage was found. What was found or added can be read
    as long as the object's shards are held, whatever another process does to the files.

    Args:
        folder: The folder; it exists.
        size: Side of the images, pixels.
        key: The cache's key.
        before_publishing: Called before a shard gets its name, so that what leads to its images is on the disk earlier.
        held: Tags of images that somebody else finds and checks: no shard of the folder is read then. None = all
            shards are, and what killed processes had finished becomes one.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        key: CacheKey,
        before_publishing: Callable[[], None],
        *,
        held: Collection[bytes] | None = None,
    ) -> None:
        self._folder = folder
        self._size = size
        self._key = key
        self._before_publishing = before_publishing

        # Where each image is, by the tag of its content; the shard being written has a number, too.
        self._held = held or ()
        self._shards: list[Shard | None] = []
        self._places = TagPlaces()
        self._unreadable = 0
        if held is None:
            self._read_folder()

        # What was checked, a byte an image, and what was found to be damaged, by shard.
        self._checked: dict[int, bytearray] = {}
        self._damaged: dict[int, set[int]] = {}

        # Shards that this object has written itself.
        self._written: set[int] = set()

        # Pixels that were mapped, the shard that is open for checking, and the one being written.
        self._pixels: dict[int, Stored] = {}
        self._open: tuple[int, BinaryIO] | None = None
        self._new: ShardFile | None = None

    @property
    def damaged(self) -> int:
        """Number of images, and of files whose index cannot be read, that were found to be damaged."""
        return self._unreadable + sum(map(len, self._damaged.values()))

    def holds(self, content: bytes) -> bool:
        """Whether an image is there and sound; each is read and compared with its checksum once.

        Args:
            content: Digest of its content.
        """
        tag = self._key.tag("content", content)
        if tag in self._held:
            return True
        if tag not in self._places:
            return False

        number, slot = divmod(self._places[tag], _SHARD)
        if self._is_sound(number, slot):
            return True

        del self._places[tag]
        return False

    def add(self, content: bytes, pixels: Stored, notice: str = "") -> None:
        """Append one image under the digest of its content."""
        if self._new is None:
            self._new = ShardFile(self._folder, self._size, self._key, resumable=True)
            self._shards.append(None)

        tag = self._key.tag("content", content)
        slot = len(self._new)
        # Each part by itself, so that equal ones are counted together.
        notices = [part for part in notice.split(AND) if part]
        self._new.add(tag, pixels.tobytes(), notices)

        self._places[tag] = (len(self._shards) - 1) * _SHARD + slot
        if self._new.full:
            self._publish()

    def close(self) -> None:
        """Publish the images added since the last shard, and leave damaged ones out of theirs.

        Raises:
            OSError: The disk is full or cannot be written; what was published before stays.
        """
        self._close_checked()
        self._publish()

        for number, slots in self._damaged.items():
            logger.warning("%d damaged images of the image cache were decoded again", len(slots))
            shard = self._shards[number]
            if shard is not None:
                # Another process may have replaced it already.
                with suppress(FileNotFoundError):
                    without_slots(shard, slots, self._key)

    def mentions(self, content: bytes) -> bool:
        """Whether an image is there, sound or not."""
        return self._key.tag("content", content) in self._places

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files of all finished shards."""
        return tuple(shard.path.name for shard in self._shards if shard is not None)

    def take_over(self, names: Sequence[str]) -> None:
        """Use shards that another process has just written for this one; what is gone again is passed over.

        Args:
            names: Names of their files in this folder.
        """
        for name in names:
            try:
                shard = read_shard(self._folder / name, self._key)
                if shard is None or shard.size != self._size:
                    continue
                with open_regular(shard.path) as file:
                    pixels = shard.pixels(file)
            except (OSError, ValueError):
                continue

            # Checked while it was written, like one of this process
            number = len(self._shards)
            self._enter(shard)
            self._pixels[number] = pixels
            self._written.add(number)

    def place(self, content: bytes) -> tuple[int, int]:
        """Number of the shard, and place in it, of an image that was found or added.

        Raises:
            KeyError: It is not there.
        """
        return divmod(self._places[self._key.tag("content", content)], _SHARD)

    def pixels(self, number: int) -> Stored:
        """The pixels of a shard in which an image was found or added, uint16[m, size, size]."""
        return self._pixels[number]

    def notices(self, number: int) -> dict[str, list[int]]:
        """What was converted while decoding the images of a shard, with their places."""
        shard = self._shards[number]
        return {} if shard is None else shard.notices

    def _read_folder(self) -> None:
        """Find all images of the folder, those that killed processes had finished among them."""
        with suppress(OSError):
            recovered = recover(self._folder, self._size, self._key)
            if recovered:
                logger.info("%d images of an interrupted reading are taken up", recovered)
        _remove_abandoned(self._folder)

        found, self._unreadable = read_shards(self._folder, self._key)
        for shard in found:
            self._enter(shard)

    def _enter(self, shard: Shard) -> None:
        """Give a shard the next number, and its images their places."""
        number = len(self._shards)
        self._shards.append(shard)
        if shard.size == self._size:
            for slot, tag in enumerate(shard.contents):
                self._places[tag] = number * _SHARD + slot

    def _is_sound(self, number: int, slot: int) -> bool:
        """Whether an image is as it was written; a shard that is gone holds none."""
        shard = self._shards[number]
        if shard is None or number in self._written:
            return True

        checked = self._checked.setdefault(number, bytearray(len(shard.contents)))
        if checked[slot]:
            return True

        # Gone, or cut short since its index was read.
        try:
            file = self._opened(number, shard)
        except (OSError, ValueError):
            return False

        if shard.sound_pixels(slot, file, self._key) is not None:
            checked[slot] = 1
            return True
        self._damaged.setdefault(number, set()).add(slot)
        return False

    def _opened(self, number: int, shard: Shard) -> BinaryIO:
        """A shard for checking; one is open at a time, because images mostly come in the order they were written in."""
        if self._open is not None and self._open[0] == number:
            return self._open[1]
        self._close_checked()

        file = open_regular(shard.path)
        self._open = number, file

        # Mapped as well, so that it can be read later even if its file is replaced meanwhile.
        if number not in self._pixels:
            self._pixels[number] = shard.pixels(file)
        return file

    def _close_checked(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _publish(self) -> None:
        """Give the shard that is being written its name."""
        new, self._new = self._new, None
        if new is None:
            return

        try:
            self._before_publishing()
        except BaseException:
            new.discard()
            raise

        # The last number is the one being written.
        number = len(self._shards) - 1
        self._shards[number], self._pixels[number] = new.publish()
        self._written.add(number)


def _remove_abandoned(folder: Path) -> None:
    """Remove what interrupted processes left; a younger file may belong to a living one."""
    for leftover in folder.glob("*.partial"):
        # Another process may remove it first; in a cache that is only read it stays.
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_S:
                leftover.unlink()
