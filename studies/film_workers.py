"""How fast films are decoded by one process and by two, in one run, turn by turn.

    python studies/film_workers.py                      # 96 generated films of 2544 x 3056 pixels, to 512, twice each
    python studies/film_workers.py --levels             # JPEG 2000: all levels, and those that a small image needs
    python studies/film_workers.py --films 24 --size 2048 --fit center_crop --workers 1 2 4

Each turn decodes the same DICOM files into a cache of its own. Wall seconds say how fast it was beside whatever else
the machine did; processor seconds, what it cost: of the processes together, of the busiest of them and of the one that
gives out work. With as many free cores as processes a turn takes the latter two one after the other at most.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.arrays import Strings
from forgetmi.data.decode import read_image
from forgetmi.data.film_portions import Answer
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.jobs.runner import Resources
from forgetmi.run.film_workers import film_workers

SHAPE = (3056, 2544)


def write_films(folder: Path, films: int, *, jpeg_2000: bool = False) -> list[str]:
    """DICOM files of 12 bits with a window, each another part of one noisy gradient."""
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

    draw = np.random.default_rng(0)
    rows = np.linspace(0, 3000, SHAPE[0] + films)[:, None]
    whole = (rows + draw.normal(200, 20, (SHAPE[0] + films, SHAPE[1]))).clip(0, 4095)
    whole = whole.astype(np.uint16)

    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    image.Rows, image.Columns = SHAPE
    image.WindowCenter, image.WindowWidth = 2048, 4096
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0

    paths = []
    for number in range(films):
        image.PixelData = whole[number : number + SHAPE[0]].tobytes()
        image["PixelData"].VR = "OW"
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if jpeg_2000:
            image.compress(JPEG2000Lossless, generate_instance_uid=False)
        buffer = io.BytesIO()
        dcmwrite(buffer, image, enforce_file_format=True)
        path = folder / f"{number}.dcm"
        path.write_bytes(buffer.getvalue())
        paths.append(str(path))
    return paths


def timed(work: Any, portion: Any, progress: Any) -> tuple[Answer, int, float]:
    """Work on one portion, with the process that did it and its processor seconds."""
    import os

    before = time.process_time()
    answer = work(portion, progress)
    return answer, os.getpid(), time.process_time() - before


class Timed:
    """Spreads work and keeps the processor seconds of each process."""

    def __init__(self, spread: Any) -> None:
        self._spread = spread
        self.seconds: dict[int, float] = {}

    def __call__(self, work: Any, portions: Any, *, answered: Any, progress: Any) -> None:
        from functools import partial

        def taken(value: tuple[Answer, int, float]) -> None:
            answer, process, seconds = value
            self.seconds[process] = self.seconds.get(process, 0.0) + seconds
            answered(answer)

        self._spread(partial(timed, work), portions, answered=taken, progress=progress)


def turn(paths: Strings, preprocessing: ImagePreprocessing, workers: int) -> dict[str, Any]:
    """Decode all films once."""
    # Here: every worker imports this file, and films need no torch
    from memory import cohort_of

    spread = film_workers(Resources(workers=workers))
    kept = None if spread is None else Timed(spread)
    with tempfile.TemporaryDirectory() as cache:
        cohort = cohort_of(list(paths))
        own, wall = time.process_time(), time.perf_counter()
        store = build_image_store(cohort, preprocessing, cache=Path(cache), spread=kept)
        return {
            "digest": store.digest,
            "wall": time.perf_counter() - wall,
            "own": time.process_time() - own,
            "busiest": max(kept.seconds.values(), default=0.0) if kept else 0.0,
            "all": sum(kept.seconds.values()) if kept else 0.0,
        }


def levels(films: int) -> None:
    """Processor milliseconds of a JPEG 2000 film, all of its levels and the needed ones alone, and how far apart."""
    print("| side | all levels, ms | needed, ms | times as fast | mean apart | 99.9 % within |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_films(Path(folder), films, jpeg_2000=True)
        for side in (64, 256, 512):
            spent, made = {}, {}
            for chosen in ("all", "needed"):
                how = ImagePreprocessing(size=side, levels=chosen)
                started = time.process_time()
                made[chosen] = [how.apply(read_image(path, **how.reading).pixels) for path in paths]
                spent[chosen] = 1000 * (time.process_time() - started) / films
            apart = np.abs(np.array(made["all"]) - np.array(made["needed"]))
            print(
                f"| {side} | {spent['all']:.0f} | {spent['needed']:.0f} "
                f"| {spent['all'] / spent['needed']:.1f} | {apart.mean():.4f} "
                f"| {np.quantile(apart, 0.999):.4f} |",
                flush=True,
            )


def main() -> None:
    """Turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=96)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--fit", default="pad")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--levels", action="store_true")
    options = parser.parse_args()
    if options.levels:
        levels(4)
        return

    preprocessing = ImagePreprocessing(size=options.size, fit=options.fit)
    turns: dict[int, list[dict[str, Any]]] = {workers: [] for workers in options.workers}
    with tempfile.TemporaryDirectory() as folder:
        paths = np.array(write_films(Path(folder), options.films), dtype=object)
        for _ in range(options.turns):
            for workers in options.workers:
                measured = turn(paths, preprocessing, workers)
                turns[workers].append(measured)
                shown = {
                    name: round(value, 2) for name, value in measured.items() if name != "digest"
                }
                print(workers, "processes:", shown, flush=True)

    # One store, whoever made it
    digests = {measured["digest"] for each in turns.values() for measured in each}
    assert len(digests) == 1

    def mean(workers: int, name: str) -> float:
        return statistics.mean(measured[name] for measured in turns[workers])

    first = options.workers[0]
    print(
        "\n| processes | ms a film | times as fast | of the cores | processor s, all | times as fast, by processor s |"
    )
    print("|---|---|---|---|---|---|")
    for workers in options.workers:
        wall = mean(workers, "wall")
        faster = mean(first, "wall") / wall
        critical = mean(workers, "own") + mean(workers, "busiest")
        by_cpu = mean(first, "own") / critical
        spent = mean(workers, "own") + mean(workers, "all")
        print(
            f"| {workers} | {wall / options.films * 1000:.0f} | {faster:.2f} | {faster / workers:.2f} "
            f"| {spent:.1f} | {by_cpu:.2f} |"
        )


if __name__ == "__main__":
    main()
