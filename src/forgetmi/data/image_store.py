"""Radiographs as a fixed-size, memory-mapped store; each distinct image is decoded once, whichever cohort it is in."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.cache_folder import FILMS
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.files import private_folder
from forgetmi.data.cache_key import cache_key
from forgetmi.data.film_portions import Spread, read_spread
from forgetmi.data.film_reading import Progress, Readings, film_places, read_films
from forgetmi.data.image_file import WHITE
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.seen_files import SEEN, SeenFiles
from forgetmi.data.shard_folder import ShardFolder
from forgetmi.data.shards import Stored
from forgetmi.data.tag_table import Digests

logger = logging.getLogger(__name__)

_AT_ONCE = 4096  # rows whose contents are digested at once


@final
@dataclass(frozen=True, eq=False, repr=False)
class ImageStore:
    """All images of a cohort, read-only and memory-mapped; made by `build_image_store`.

    Args:
        preprocessing: How the images were made.
        shards: uint16[m, size, size] each; value / 65535 is the grey value.
        shard: Shard of each of the n rows, -1 = no image (a report only).
        slot: Place of each row in its shard.
        notices: What was converted while decoding, and for how many rows of this cohort.
        digest: Digest of the content of all rows and of the preprocessing.
        contents: UInt8[m, 32], SHA-256 of each distinct image file (of an NPY stack: of its image); zeros = no image.
        number: Int[n], which of these each row has.
        damaged: How many images of the cache, and files of many, were found to be damaged and were decoded again.
    """

    preprocessing: ImagePreprocessing
    shards: tuple[Stored, ...]
    shard: Ints
    slot: Ints
    notices: Mapping[str, int]
    digest: str
    contents: npt.NDArray[np.uint8]
    number: Ints
    damaged: int = 0

    def __len__(self) -> int:
        return len(self.shard)

    def __repr__(self) -> str:
        return (
            f"ImageStore({len(self)} rows, {self.preprocessing.size} px, digest {self.digest[:12]})"
        )

    @property
    def content(self) -> Strings:
        """SHA-256 of each row's image file (of an NPY stack: of its image), n in hex; "" = no image."""
        known = np.asarray(self.contents.any(axis=1))
        texts = [
            digest.tobytes().hex() if there else ""
            for digest, there in zip(self.contents, known.tolist(), strict=True)
        ]
        return np.array(texts, dtype=object)[self.number]

    def images(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Images of b rows of the cohort.

        Args:
            rows: Int[b].

        Returns:
            float32[b, 1, size, size] in [0, 1]; zeros where a row has no image.
        """
        shard, slot = self.shard[rows], self.slot[rows]
        size = self.preprocessing.size
        images = np.zeros((len(shard), 1, size, size), np.float32)

        # One reading of each shard.
        for number in np.unique(shard[shard >= 0]):
            positions = np.flatnonzero(shard == number)
            images[positions, 0] = self.shards[number][slot[positions]]

        images /= WHITE
        return images

    def copy_stored(self, row: int, film: npt.NDArray[np.integer]) -> bool:
        """Copy one row's film as it is stored, in one piece: other threads go on meanwhile.

        Args:
            row: Of the cohort; one without an image gives zeros.
            film: uint16[size, size], overwritten; or uint8[size, size], for 256 grey values.

        Returns:
            Whether grey values were lost: a film of more than 8 bits in 8.
        """
        if self.shard[row] < 0:
            film[...] = 0
            return False

        stored = self.shards[self.shard[row]][self.slot[row]]
        if film.dtype != np.uint8:
            np.copyto(film, stored)
            return False

        # The nearest of 256; v of 255 is stored as 257 v.
        whole, rest = np.divmod(stored, np.uint16(257))
        np.add(whole, rest > 128, out=film, casting="unsafe")
        return bool(rest.any())


def build_image_store(
    cohort: Cohort,
    preprocessing: ImagePreprocessing,
    *,
    cache: Path,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> ImageStore:
    """Decode what the cache does not hold yet and open all images of a cohort.

    Images are known by their content: an unchanged file is not read again, and a known image is not decoded again,
    whatever the order or selection of rows it comes in. Every image that comes from the cache is compared with its
    checksum; a damaged one is decoded again. Memory stays at a few images. When the process is killed, the same call
    goes on behind the last image that was finished.

    Args:
        cohort: Its image locators are read; rows with an empty locator get zeros.
        preprocessing: Size and fit.
        cache: Folder that may be shared by runs and by processes running at the same time.
        progress: Called with (images read, total number of images).
        spread: Lets several processes decode what is missing; None = this one does. The store is the same. Of equal
            files two may then be decoded.

    Returns:
        The store, one row per row of the cohort.

    Raises:
        CohortError: Images cannot be read (all of them are listed, by row and digest), or the cache cannot be written.
        ForgetMIError: One of several processes was killed.
    """
    # Each locator once, however many rows have it.
    code, locators = codes(cohort.image)
    logger.info("reading images begun: %d rows, %d distinct images", len(code), len(locators))

    with _cache_faults():
        folder = private_folder(films_folder(cache) / preprocessing.digest[:16])
        key = cache_key(folder.parent)
        seen = SeenFiles(folder.parent / SEEN, key)
        shards = ShardFolder(folder, preprocessing.size, key, before_publishing=seen.save)

        # What was decoded until a fault stays in the cache.
        places = film_places([str(text) for text in locators])
        before = Readings(Digests(len(locators)))
        try:
            if spread is not None:
                read_spread(
                    places,
                    preprocessing,
                    seen,
                    shards,
                    folder=folder,
                    spread=spread,
                    progress=progress,
                    readings=before,
                )
            readings = read_films(
                places, preprocessing, seen, shards, before=before, progress=progress
            )
        finally:
            shards.close()
            seen.save()

        if readings.faults:
            logger.info("reading images failed: %d cannot be read", len(readings.faults))
            raise CohortError(_located(readings.faults, code, cohort))

        logger.info("reading images finished: %d distinct images", len(locators))
        return _store(shards, preprocessing, code, readings.contents, len(locators))


def films_folder(cache: Path) -> Path:
    """Where a cache keeps decoded films; made, and closed to everybody but its owner.

    Raises:
        OSError: It cannot be made.
    """
    return private_folder(cache / FILMS)


@contextmanager
def _cache_faults() -> Iterator[None]:
    """Turn a full or read-only disk into advice (image files' own errors are handled where they are read)."""
    try:
        yield
    except OSError as error:
        raise CohortError(
            Fault(
                "the image cache cannot be written",
                why=error.strerror or type(error).__name__,
                do="Free space or name another cache folder, then run again; images finished so far are kept.",
            )
        ) from error


def _located(faults: Mapping[int, Fault], code: Ints, cohort: Cohort) -> list[Fault]:
    """The faults with their places: row and keyed digests, never the path."""
    # Codes are 0, 1, 2, ..., so the n-th distinct one is n.
    _, first, times = np.unique(code, return_index=True, return_counts=True)

    located = []
    for number, fault in sorted(faults.items()):
        row = first[number]
        patient, image = cohort.patient[row], cohort.image_id[row]
        where = f"{cohort.name} row {row + 1}, patient {patient}, image {image}"

        more = times[number] - 1
        if more:
            where += f" (and {more} more of this file)"
        located.append(Fault(fault.what, where, fault.why, fault.do))
    return located


def _store(
    shards: ShardFolder,
    preprocessing: ImagePreprocessing,
    code: Ints,
    contents: Mapping[int, bytes],
    count: int,
) -> ImageStore:
    """The places of the contents of so many images; only the shards needed are mapped."""
    places = np.full((count, 2), -1, np.int64)
    digests = np.zeros((count, 32), np.uint8)
    for number in contents:
        content = contents[number]
        places[number] = shards.place(content)
        digests[number] = np.frombuffer(content, np.uint8)
    digests.flags.writeable = False
    shard, slot = places[code].T

    # Shards are numbered anew, without those that hold nothing of this cohort.
    needed = np.unique(shard[shard >= 0])
    renumbered = np.where(shard < 0, -1, np.searchsorted(needed, shard))
    pixels = tuple(shards.pixels(number) for number in needed.tolist())

    # What was converted, counted over the rows of this cohort.
    notices: Counter[str] = Counter()
    for number in needed.tolist():
        slots_used = slot[shard == number]
        for notice, slots in shards.notices(number).items():
            notices[notice] += int(np.isin(slots_used, slots).sum())

    # Content of all rows in their order; a row without an image is 32 zeros.
    digest = hashlib.sha256(preprocessing.digest.encode())
    for start in range(0, len(code), _AT_ONCE):
        digest.update(digests[code[start : start + _AT_ONCE]].tobytes())

    return ImageStore(
        preprocessing=preprocessing,
        shards=pixels,
        shard=renumbered,
        slot=slot,
        notices=+notices,
        digest=digest.hexdigest(),
        contents=digests,
        number=code,
        damaged=shards.damaged,
    )
