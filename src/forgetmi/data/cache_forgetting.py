"""Takes films out of the cache: their pixels in every size, and what the index remembers of their files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forgetmi.core.cache_folder import FILMS, FORMER_FILMS, remove_from_cache
from forgetmi.core.file_locks import is_taken
from forgetmi.data.cache_key import CacheKey, cache_key
from forgetmi.data.decode import ImageFault, split_locator
from forgetmi.data.image_file import ImageFile
from forgetmi.data.seen_files import SEEN, FilePlace, SeenFiles
from forgetmi.data.shard_file import without_slots
from forgetmi.data.shard_folder import read_shards

# Seconds after which an unfinished file has certainly been taken by the process that writes it.
_YOUNG_S = 10.0


@dataclass(frozen=True)
class Removed:
    """What was taken out of a cache.

    Args:
        films: Number of decoded images removed for each locator, in all sizes; one that several share counts for each.
        images: Number of decoded images removed, each once.
        entries: Entries of the index.
        untraced: Further decoded images, to which no entry of the index led any more.
        damaged: Further decoded images, whose checksum was wrong.
        unreadable: Files of decoded images whose index was damaged or was written under another key.
        leftovers: Unfinished files of processes that have ended.
        former: Files that an earlier version had written, without key or checksum.
        absent: Number of locators whose file is gone and under whose path nothing was read.
    """

    films: tuple[int, ...]
    images: int = 0
    entries: int = 0
    untraced: int = 0
    damaged: int = 0
    unreadable: int = 0
    leftovers: int = 0
    former: int = 0
    absent: int = 0


def forget_films(cache: Path, locators: Sequence[str]) -> Removed:
    """Remove films from a cache, as far as it can know them.

    A film is known by its content, which is read again where the file is still there, and by the path it was once read
    under, also where the file is gone or was replaced. Decoded images to which no entry of the index leads are removed
    as well, whosever they are: they can be made again. Each step leaves a whole cache, and the index goes last: after
    an interruption, the same call removes the rest. Processes that read the films meanwhile go on.

    Args:
        cache: The cache's folder.
        locators: Films, as `forgetmi.data.decode.read_image` takes them; "" is passed over.

    Raises:
        OSError: The cache cannot be read or written.
    """
    folder = cache / FILMS
    former = remove_from_cache(cache, [FORMER_FILMS])[FORMER_FILMS]
    if not folder.is_dir():
        return Removed(films=(0,) * len(locators), former=former)

    key = cache_key(folder)
    seen = SeenFiles(folder / SEEN, key)

    # What was, or is, the content at each place.
    places = [_place(locator) for locator in locators]
    contents, absent = _contents(seen, [place for place in places if place[0]])
    all_contents = {content for several in contents.values() for content in several}

    # Pixels go first: as long as the index leads to them, they can be found again.
    removed, untraced, damaged, unreadable = _remove_pixels(
        folder,
        key,
        forgotten={key.tag("content", content): content for content in all_contents},
        known={key.tag("content", content) for content in seen.all_contents()},
    )
    leftovers = _remove_leftovers(folder)
    entries = seen.forget(contents, all_contents)

    films = []
    for place in places:
        of_place = contents.get(place, ())
        films.append(sum(removed[content] for content in of_place))

    return Removed(
        films=tuple(films),
        images=removed.total(),
        entries=entries,
        untraced=untraced,
        damaged=damaged,
        unreadable=unreadable,
        leftovers=leftovers,
        former=former,
        absent=absent,
    )


def _place(locator: str) -> FilePlace:
    path, index = split_locator(locator)
    return path, -1 if index is None else index


def _contents(
    seen: SeenFiles, places: Sequence[FilePlace]
) -> tuple[dict[FilePlace, set[bytes]], int]:
    """Contents of each place, those in the index and the one that is there now; and how many are nowhere."""
    found = seen.contents(places)
    contents: dict[FilePlace, set[bytes]] = {place: set() for place in places} | found

    absent = 0
    for path, index in contents:
        # A file that is gone or cannot be read has left only what the index remembers.
        try:
            contents[path, index].add(ImageFile(path, seen).content(index))
        except (OSError, ImageFault):
            if not contents[path, index]:
                absent += 1
    return contents, absent


def _remove_pixels(
    folder: Path, key: CacheKey, *, forgotten: dict[bytes, bytes], known: set[bytes]
) -> tuple[Counter[bytes], int, int, int]:
    """Write every shard anew that holds a forgotten image, or one that is not known.

    Args:
        folder: Folder of all decoded films.
        key: The cache's key.
        forgotten: Content of each tag that is to be removed.
        known: Tags of all contents in the index.

    Returns:
        How often each content was removed, how many unknown images, damaged ones, and unreadable files.
    """
    removed: Counter[bytes] = Counter()
    untraced = damaged = unreadable = 0

    for sized in sorted(path for path in folder.iterdir() if path.is_dir()):
        shards, removed_files = read_shards(sized, key)
        unreadable += removed_files

        for shard in shards:
            left_out = set()
            for slot, tag in enumerate(shard.contents):
                if tag in forgotten:
                    left_out.add(slot)
                    removed[forgotten[tag]] += 1
                elif tag not in known:
                    left_out.add(slot)
                    untraced += 1

            # Another process may have replaced it meanwhile.
            if left_out:
                with suppress(FileNotFoundError):
                    damaged += without_slots(shard, left_out, key)
    return removed, untraced, damaged, unreadable


def _remove_leftovers(folder: Path) -> int:
    """Remove unfinished files of processes that were killed: they may hold forgotten films."""
    removed = 0
    for path in folder.rglob("*.partial"):
        with suppress(FileNotFoundError):
            young = time.time() - path.stat().st_mtime < _YOUNG_S
            if not young and not is_taken(path):
                path.unlink()
                removed += 1
    return removed
