"""Films, one after another: each is known by its content, and decoded where the cache does not hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
        index: Its place in an NPY stack, -1 = the whole file.
        number: Number of its locator.
    """

    path: str
    index: int
    number: int

    @property
    def locator(self) -> str:
        """The film, as `forgetmi.data.decode.read_image` takes it."""
        return self.path if self.index < 0 else f"{self.path}#{self.index}"


@dataclass
class Readings:
    """What was found out about films.

    Args:
        contents: Content digest of each, by number of the locator.
        faults: Why some cannot be read, by number.
    """

    contents: dict[int, bytes] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)

    def add(self, other: Readings) -> None:
        """Add what another process found out."""
        self.contents |= other.contents
        self.faults |= other.faults

    def __len__(self) -> int:
        return len(self.contents) + len(self.faults)


def film_places(locators: Sequence[str]) -> list[FilmPlace]:
    """The places of films, sorted, so that a stack is opened once and read in order."""
    places = []
    for number, locator in enumerate(locators):
        path, index = split_locator(locator)
        places.append(FilmPlace(path, -1 if index is None else index, number))
    return sorted(places)


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
        before: What other processes have read of these films for this one.
        progress: Called with (films read, total).

    Returns:
        What was found out, with what was before.

    Raises:
        OSError: The cache cannot be written.
    """
    readings = Readings()
    if before is not None:
        readings.add(before)
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
                content = file.content(place.index)
                image = None
                if not shards.holds(content):
                    image = file.stored(place.locator, place.index, preprocessing)
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
