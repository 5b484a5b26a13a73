"""Films in portions that several processes read side by side; the result does not show which of them read what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from forgetmi.data.cache_key import cache_key
from forgetmi.data.decode import ImageFault
from forgetmi.data.film_reading import FilmPlace, Progress, Readings, read_films
from forgetmi.data.image_file import ImageFile
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.seen_files import SEEN, Entries, SeenFiles
from forgetmi.data.shard_folder import ShardFolder, read_shards
from forgetmi.data.shards import capacity

# Fewer bytes of films than this are read sooner here than processes start, about a second's work.
_WORTH = 2**26

# Into how many portions films are divided where a shard does not fill earlier, and the fewest films of one.
_PORTIONS, _FEWEST = 256, 4


@dataclass(frozen=True)
class Portion:
    """Films that one process reads, into shards of their own.

    Args:
        folder: Folder of the shards of one preprocessing.
        preprocessing: How films become model inputs.
        places: The films, sorted.
        shards: Names of the shards that were there when films were divided; what they hold is not decoded.
    """

    folder: Path
    preprocessing: ImagePreprocessing
    places: tuple[FilmPlace, ...]
    shards: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What a process found out about its portion.

    Args:
        readings: Contents and faults, by number of the locator.
        entries: What goes to the index of films.
        shards: Names of the shards it wrote.
    """

    readings: Readings
    entries: Entries
    shards: tuple[str, ...]


class Spread(Protocol):
    """Does work on portions in several processes; `forgetmi.run.film_workers` makes them."""

    def __call__(
        self,
        work: Callable[..., Answer],
        portions: Sequence[Portion],
        *,
        answered: Callable[[Answer], Any],
        progress: Callable[[int, int], Any],
    ) -> None:
        """Call ``work(portion, progress)`` for each portion somewhere.

        Args:
            work: An importable function; its progress is called with (done, total) of its portion.
            portions: The portions.
            answered: Called here with each answer, in whatever order they come.
            progress: Called here with (number of the portion, films done in it).

        Raises:
            ForgetMIError: A process was killed.
        """
        ...


def read_portion(portion: Portion, progress: Progress) -> Answer:
    """Read one portion; for a process of its own.

    Args:
        portion: The portion.
        progress: Called with (films read, total).

    Raises:
        OSError: The cache cannot be written.
    """
    folder = portion.folder
    key = cache_key(folder.parent)
    seen = SeenFiles(folder.parent / SEEN, key, empty=True)
    shards = ShardFolder(
        folder,
        portion.preprocessing.size,
        key,
        before_publishing=lambda: None,
        held=_held(folder, portion.shards),
    )

    # What was decoded until an error stays in the cache
    try:
        readings = read_films(
            portion.places, portion.preprocessing, seen, shards, progress=progress
        )
    finally:
        shards.close()
    return Answer(readings, seen.new, shards.names)


@lru_cache(1)
def _held(folder: Path, names: tuple[str, ...]) -> frozenset[bytes]:
    """Tags of the images in some shards, the same for all portions of one reading."""
    if not names:
        return frozenset()

    shards, _ = read_shards(folder, cache_key(folder.parent))
    tags: set[bytes] = set()
    for shard in shards:
        if shard.path.name in names:
            tags.update(shard.contents)
    return frozenset(tags)


def read_spread(
    places: Sequence[FilmPlace],
    preprocessing: ImagePreprocessing,
    seen: SeenFiles,
    shards: ShardFolder,
    *,
    folder: Path,
    spread: Spread,
    progress: Progress | None,
    readings: Readings,
) -> None:
    """Let several processes read the films that the cache does not hold, if that is worth it.

    Args:
        places: All films, sorted.
        preprocessing: How films become model inputs.
        seen: Content digests of files already read; what is found out is added.
        shards: Where the films are kept; shards that are written are added.
        folder: Folder of the shards.
        spread: Runs the work.
        progress: Called with (films read, total of all).
        readings: Takes what was found out of the films that were read; of the others nothing.

    Raises:
        ForgetMIError: A process was killed; what was finished is kept.
    """
    missing, size = _missing(places, seen, shards)
    if size < _WORTH:
        return

    # A film is in one portion, whatever the number of processes
    count = min(capacity(preprocessing.size), max(_FEWEST, -(-len(missing) // _PORTIONS)))
    portions = []
    for start in range(0, len(missing), count):
        part = tuple(missing[start : start + count])
        portions.append(Portion(folder, preprocessing, part, shards.names))

    def take_over(answer: Answer) -> None:
        readings.add(answer.readings)
        seen.take_over(answer.entries)
        shards.take_over(answer.shards)

    # Films that are there already count as read: the time left follows from the others
    there = len(places) - len(missing)
    done = [0] * len(portions)

    def count_films(number: int, films: int) -> None:
        done[number] = films
        if progress is not None:
            progress(there + sum(done), len(places))

    spread(read_portion, portions, answered=take_over, progress=count_films)


def _missing(
    places: Sequence[FilmPlace], seen: SeenFiles, shards: ShardFolder
) -> tuple[list[FilmPlace], int]:
    """Films that the cache does not hold, as far as is known without reading them, and how many bytes they have."""
    missing = []
    size = 0
    file: ImageFile | None = None
    for place in places:
        if not place.path:
            continue

        # What is wrong with a file is found out where it is read
        try:
            if file is None or file.path != place.path:
                file = ImageFile(place.path, seen)
            content = file.known(place.slot)
            if content is not None and shards.mentions(content):
                continue
            size += file.bytes_of(place.slot)
        except (ImageFault, OSError):
            file = None
        missing.append(place)
    return missing, size
