"""What checksums of decoded films cost, and what it costs to forget some.

    python studies/cache_cost.py                     # 10,000 films of 64 px, 6,742 of 256 px, 200 of 2048 px
    python studies/cache_cost.py --images 1000 --size 256

Opening is timed with and without comparing every film with its checksum, from memory (the files were just written) and
from the disk (the system is told to drop them first); the least of three times each. Forgetting takes one film in a
hundred, spread over all shards.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np

from forgetmi.core.cohort import Cohort
from forgetmi.data.cache_forgetting import forget_films
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.shards import Shard
from memory import cohort_of, stack

SIZES = ((10_000, 64), (6_742, 256), (200, 2048))


def seconds(work: Callable[[], object], before: Callable[[], None], times: int = 3) -> float:
    """The least time of several, each after some preparation."""
    measured = []
    for _ in range(times):
        before()
        started = time.perf_counter()
        work()
        measured.append(time.perf_counter() - started)
    return min(measured)


def drop(cache: Path) -> None:
    """Have the system read the cache's files from the disk the next time."""
    for path in cache.rglob("*.u16"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def unchecked(shard: Shard, slot: int, *_: object) -> bytes:
    """Every film is taken as it is."""
    return b""


def epoch(cohort: Cohort, preprocessing: ImagePreprocessing, cache: Path) -> float:
    """Seconds to read every film once in batches, without opening the store."""
    store = build_image_store(cohort, preprocessing, cache=cache)
    drop(cache)
    started = time.perf_counter()
    for start in range(0, len(cohort), 16):
        store.images(np.arange(start, min(start + 16, len(cohort))))
    return time.perf_counter() - started


def measure(images: int, size: int, folder: Path) -> None:
    """One row of the table."""
    stack(folder / "stack.npy", images, size)
    cohort = cohort_of([f"{folder}/stack.npy#{number}" for number in range(images)])
    preprocessing = ImagePreprocessing(size=size)
    cache = folder / "cache"

    def opened() -> None:
        build_image_store(cohort, preprocessing, cache=cache)

    started = time.perf_counter()
    opened()
    first = time.perf_counter() - started

    # With and without checksums, from memory and from the disk.
    opened()
    warm = seconds(opened, lambda: None)
    cold = seconds(opened, lambda: drop(cache))
    with patch.object(Shard, "sound_pixels", unchecked):
        plain = seconds(opened, lambda: None)
    read = epoch(cohort, preprocessing, cache)

    shards = list(cache.rglob("*.u16"))
    pixels = 2 * size * size * images
    more = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) - pixels

    started = time.perf_counter()
    removed = forget_films(cache, [str(locator) for locator in cohort.image[::100]])
    forgetting = time.perf_counter() - started
    assert removed.images == len(cohort.image[::100])
    print(
        f"| {images:,} | {size} | {pixels / 2**20:,.0f} | {first:.1f} | {plain:.2f} | {warm:.2f} | {cold:.2f} | "
        f"{read:.2f} | {more / images:.0f} | {len(shards)} | {forgetting:.1f} |",
        flush=True,
    )


def main() -> None:
    """Measure the sizes given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()

    print(
        "| films | pixels | all films, MiB | first reading, s | opening unchecked, s | checked, s | "
        "checked from disk, s | an epoch's reading from disk, s | bytes more a film | shards | forgetting 1 %, s |"
    )
    sizes = SIZES if options.images is None else ((options.images, options.size),)
    for images, size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            measure(images, size, Path(folder))


if __name__ == "__main__":
    main()
