"""Films, one after another: each is known by its content, and decoded where the cache does not hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final, overload

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault
from forgetmi.data.decode import ImageFault, split_locator
from forgetmi.data.image_file import ImageFile
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.seen_files import SeenFiles
from forgetmi.data.shard_folder import ShardFolder

Progress = Callable[[int, int], None]


class FilmPlace(NamedTuple):
    """Where a film is.

    Args:
        path: Its file; "" = there is none.
        slot: Its place in an NPY stack, -1 = the whole file.
        number: Number of its locator.
    """

    path: str
    slot: int
    number: int

    @property
    def locator(self) -> str:
        """The film, as `forgetmi.data.decode.read_image` takes it."""
        return self.path if self.slot < 0 else f"{self.path}#{self.slot}"


@dataclass
class Readings:
    """What was found out about films.

    Args:
        contents: Content digest of each, by number of the locator.
        faults: Why some cannot be read, by number.
    """

    contents: MutableMapping[int, bytes] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)

    def add(self, other: Readings) -> None:
        """Add what another process found out."""
        self.contents.update(other.contents)
        self.faults |= other.faults

    def __len__(self) -> int:
        return len(self.contents) + len(self.faults)


@final
class FilmPlaces(Sequence[FilmPlace]):
    """Places of films, sorted by path and place in it; 24 bytes each, however long their paths are.

    Args:
        paths: The distinct paths, sorted.
        path: Int[n], number of each film's path.
        index: Int[n], its place in a stack or -1.
        number: Int[n], number of its locator.
    """

    def __init__(self, paths: Sequence[str], path: Ints, index: Ints, number: Ints) -> None:
        self._paths = paths
        self._path, self._index, self._number = path, index, number

    def __len__(self) -> int:
        return len(self._number)

    @overload
    def __getitem__(self, key: int) -> FilmPlace: ...

    @overload
    def __getitem__(self, key: slice) -> list[FilmPlace]: ...

    def __getitem__(self, key: int | slice) -> FilmPlace | list[FilmPlace]:
        if isinstance(key, slice):
            return [self[at] for at in range(*key.indices(len(self)))]
        path = self._paths[int(self._path[key])]
        return FilmPlace(path, int(self._index[key]), int(self._number[key]))

    def __iter__(self) -> Iterator[FilmPlace]:
        return (self[at] for at in range(len(self)))


def film_places(locators: Sequence[str]) -> FilmPlaces:
    """The places of films, sorted, so that a stack is opened once and read in order."""
    number_of: dict[str, int] = {}
    path = np.empty(len(locators), np.int64)
    index = np.full(len(locators), -1, np.int64)
    for number, locator in enumerate(locators):
        name, place = split_locator(locator)
        path[number] = number_of.setdefault(name, len(number_of))
        if place is not None:
            index[number] = place

    # Paths in their order, then all films by path, place and number
    paths = sorted(number_of)
    rank = np.empty(len(paths), np.int64)
    for at, name in enumerate(paths):
        rank[number_of[name]] = at
    path = rank[path]
    order = np.lexsort((np.arange(len(path)), index, path))
    return FilmPlaces(paths, path[order], index[order], order)


def read_films(
    places: Sequence[FilmPlace],
    preprocessing: ImagePreprocessing,
    seen: SeenFiles,
    shards: ShardFolder,
    *,
    before: Readings | None = None,
    progress: Progress | None = None,
) -> Readings:
    """Put each film into the shards, unless it is there.

    Args:
        places: Sorted.
        preprocessing: How films become model inputs.
        seen: Content digests of files already read.
        shards: Where the films are kept.
        before: What other processes have read of these films for this one; more is added to it.
        progress: Called with (films read, total).

    Returns:
        What was found out, with what was before.

    Raises:
        OSError: The cache cannot be written.
    """
    readings = Readings() if before is None else before
    done = len(readings)

    # Whoever read films before has counted those that are there, too
    if done:
        progress = None

    file: ImageFile | None = None
    for place in places:
        if place.number in readings.faults:
            continue
        content = readings.contents.get(place.number)
        if content is not None and shards.holds(content):
            continue

        if content is None:
            done += 1
        if place.path:
            try:
                if file is None or file.path != place.path:
                    file = ImageFile(place.path, seen)
                content = file.content(place.slot)
                image = None
                if not shards.holds(content):
                    image = file.stored(place.locator, place.slot, preprocessing)
            except ImageFault as error:
                readings.faults[place.number] = error.fault
                continue
            except OSError as error:
                readings.faults[place.number] = _unreadable(error)
                continue

            # Outside the block above: a cache that cannot be written is no fault of the image.
            readings.contents[place.number] = content
            if image is not None:
                pixels, notice = image
                shards.add(content, pixels, notice)

        if progress is not None:
            progress(done, len(places))
    return readings


def _unreadable(error: OSError) -> Fault:
    return Fault(
        "the image file cannot be read",
        why=error.strerror or type(error).__name__,
        do="Check the image column and the folder it is relative to.",
    )
