"""Radiographs as a fixed-size, memory-mapped store; each distinct image is decoded once, whichever cohort it is in."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.data.decode import ImageFault, read_image, split_locator
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.shards import SeenFiles, ShardWriter, Stored, read_shards

Progress = Callable[[int, int], None]


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
        content: SHA-256 of each row's image file (of an NPY stack: of its image), hex; "" = no image.
    """

    preprocessing: ImagePreprocessing
    shards: tuple[Stored, ...]
    shard: Ints
    slot: Ints
    notices: Mapping[str, int]
    digest: str
    content: Strings

    def __len__(self) -> int:
        return len(self.shard)

    def __repr__(self) -> str:
        return (
            f"ImageStore({len(self)} rows, {self.preprocessing.size} px, digest {self.digest[:12]})"
        )

    def images(self, rows: Ints) -> npt.NDArray[np.float32]:
        """Images of b rows of the cohort.

        Args:
            rows: Int[b].

        Returns:
            float32[b, 1, size, size] in [0, 1]; zeros where a row has no image.
        """
        shard, slot, size = self.shard[rows], self.slot[rows], self.preprocessing.size
        out = np.zeros((len(shard), 1, size, size), np.float32)
        for number in np.unique(shard[shard >= 0]):
            at = np.flatnonzero(shard == number)
            out[at, 0] = self.shards[number][slot[at]]
        out /= np.float32(65535)
        return out


def build_image_store(
    cohort: Cohort,
    preprocessing: ImagePreprocessing,
    *,
    cache: Path,
    progress: Progress | None = None,
) -> ImageStore:
    """Decode what the cache does not hold yet and open all images of a cohort.

    Images are known by their content: an unchanged file is not read again, and a known image is not decoded again,
    whatever the order or selection of rows it comes in. Memory stays at a few images.

    Args:
        cohort: Its image locators are read; rows with an empty locator get zeros.
        preprocessing: Size and fit.
        cache: Folder that may be shared by runs and by processes running at the same time.
        progress: Called with (images looked at, images in all).

    Returns:
        The store, one row per row of the cohort.

    Raises:
        CohortError: Images cannot be read (all of them are listed, by row and digest), or the cache cannot be written.
    """
    code, locators = codes(cohort.image)
    with _cache_faults():
        folder = cache / "images" / preprocessing.digest[:16]
        folder.mkdir(parents=True, exist_ok=True)
        seen, writer = (
            SeenFiles(cache / "images" / "seen.bin"),
            ShardWriter(folder, preprocessing.size),
        )
        try:
            contents, faults = _ingest(
                [str(text) for text in locators], preprocessing, seen, writer, progress
            )
        finally:
            writer.close()
            seen.save()
        if faults:
            raise CohortError(_located(faults, code, cohort))
        return _open(folder, preprocessing, code, contents)


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
    """Say where: row and keyed digests, never the path."""
    _, first, times = np.unique(code, return_index=True, return_counts=True)  # code is 0, 1, 2, ...
    out = []
    for number, fault in sorted(faults.items()):
        row, more = first[number], times[number] - 1
        where = f"{cohort.name} row {row + 1}, patient {cohort.patient[row]}, image {cohort.image_id[row]}"
        out.append(
            Fault(
                fault.what,
                f"{where} (and {more} more of this file)" if more else where,
                fault.why,
                fault.do,
            )
        )
    return out


@final
class _Source:
    """One image file: its content digests (one per slice of an NPY stack)."""

    def __init__(self, path: str, seen: SeenFiles) -> None:
        self.path = path
        self._seen = seen
        self._base, self._settled = seen.key(Path(path))

    @cached_property
    def stack(self) -> npt.NDArray[Any] | None:
        """The slices of an NPY stack; None where the file is none (`read_image` will say what is wrong with it)."""
        try:
            return np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))
        except (ValueError, EOFError, SyntaxError):
            return None

    @cached_property
    def _file_content(self) -> bytes:
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    def content(self, index: int) -> bytes:
        """Content digest of the file (index -1) or of one slice, remembered while the file is unchanged."""
        key = self._base + (index + 1).to_bytes(8, "little")
        content = self._seen.get(key)
        if content is None:
            content = self._file_content if index < 0 else self._slice_content(index)
            if self._settled:
                self._seen.put(key, content)
        return content

    def _slice_content(self, index: int) -> bytes:
        if self.stack is None or self.stack.ndim < 3 or index >= len(self.stack):
            return hashlib.sha256(self._file_content + index.to_bytes(8, "little")).digest()
        digest = hashlib.sha256(f"{self.stack.dtype.str}{self.stack.shape[1:]}".encode())
        digest.update(np.ascontiguousarray(self.stack[index]).data)
        return digest.digest()

    def stored(
        self, locator: str, index: int, preprocessing: ImagePreprocessing
    ) -> tuple[Stored, str]:
        """The image as it is stored, and the decoder's notice."""
        size = preprocessing.size
        if (
            index >= 0
            and self.stack is not None
            and self.stack.dtype == np.uint8
            and index < len(self.stack)
            and self.stack.shape[1:] == (size, size)
        ):
            return self.stack[index].astype(np.uint16) * np.uint16(
                257
            ), ""  # v / 255 = 257 v / 65535
        decoded = read_image(locator)
        back = decoded.inverted and not preprocessing.invert
        pixels = preprocessing.apply(np.float32(1) - decoded.pixels if back else decoded.pixels)
        return np.rint(pixels * np.float32(65535)).astype(np.uint16), decoded.notice


def _ingest(
    locators: list[str],
    preprocessing: ImagePreprocessing,
    seen: SeenFiles,
    writer: ShardWriter,
    progress: Progress | None,
) -> tuple[list[bytes], dict[int, Fault]]:
    """Store each distinct image; content digest of each locator (b"" = none) and faults, by number of the locator."""
    contents, faults = [b""] * len(locators), dict[int, Fault]()
    source: _Source | None = None
    for done, (path, index, number) in enumerate(
        sorted(map(_parse, locators, range(len(locators)))), 1
    ):
        if path:
            try:
                if source is None or source.path != path:
                    source = _Source(path, seen)
                content = source.content(index)
                image = (
                    None
                    if content in writer
                    else source.stored(locators[number], index, preprocessing)
                )
            except ImageFault as error:
                faults[number] = error.fault
                continue
            except OSError as error:
                faults[number] = Fault(
                    "the image file cannot be read",
                    why=error.strerror or type(error).__name__,
                    do="Check the image column and the folder it is relative to.",
                )
                continue
            contents[number] = content
            if image is not None:
                writer.add(content, *image)
        if progress is not None:
            progress(done, len(locators))
    return contents, faults


def _parse(locator: str, number: int) -> tuple[str, int, int]:
    """Path, slice (-1 = the whole file) and number of a locator: sorted, a stack is read once and in order."""
    path, index = split_locator(locator)
    return path, -1 if index is None else index, number


def _open(
    folder: Path, preprocessing: ImagePreprocessing, code: Ints, contents: list[bytes]
) -> ImageStore:
    """Find every content in the shards; only the shards needed are opened."""
    shards = read_shards(folder, preprocessing.size)
    place = {
        content: (number, slot)
        for number, shard in enumerate(shards)
        for slot, content in enumerate(shard.contents)
    }
    places = np.array(
        [place[content] if content else (-1, -1) for content in contents], np.int64
    ).reshape(-1, 2)
    shard_of, slot = places[code].T
    needed = np.unique(shard_of[shard_of >= 0])
    notices: Counter[str] = Counter()
    for number in needed:
        for notice, slots in shards[number].notices.items():
            notices[notice] += int(np.isin(slot[shard_of == number], slots).sum())
    digest = hashlib.sha256(preprocessing.digest.encode())
    for number in code:
        digest.update(contents[number] or bytes(32))
    return ImageStore(
        preprocessing,
        tuple(shards[number].pixels(preprocessing.size) for number in needed),
        np.where(shard_of < 0, -1, np.searchsorted(needed, shard_of)),
        slot,
        +notices,
        digest.hexdigest(),
        np.array([content.hex() for content in contents], dtype=object)[code],
    )
