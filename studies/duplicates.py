"""How many copies the near-duplicate scan finds, how many pairs it invents, and how long it takes.

    python studies/duplicates.py [--phantoms 10000] [--size 64] [--table cohort.csv --image image_path] \\
        [--openi reports.tar.gz]

Phantoms: every image of generated patients is compared with those of all others (false pairs), and copies of some with
all (recall). A table of real images is scanned in the same way; its pairs are listed by row, to be looked at. Reports
of the Indiana collection: a random tenth is taken as forgotten, and edited copies of its long reports are planted.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from forgetmi.cohort.openi_reports import read_openi_reports
from forgetmi.cohort.synthetic_making import STACK, TABLE, make_synthetic
from forgetmi.core.arrays import Ints, codes
from forgetmi.core.cohort import Cohort
from forgetmi.data.image_copies import SIDE, same_images
from forgetmi.data.image_store import ImageStore, build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.report_copies import same_reports

STRETCH = ImagePreprocessing(size=SIDE, fit="stretch")


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The image after compression."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("L")


def sized(image: Image.Image, factor: float) -> Image.Image:
    """The image at another size."""
    return image.resize(
        (round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC
    )


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "unchanged": lambda image: image,
    "JPEG, quality 70": lambda image: jpeg(image, 70),
    "size 50 %": lambda image: sized(image, 0.5),
    "size 200 %": lambda image: sized(image, 2.0),
    "contrast -20 %": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "contrast +20 %": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "50 %, -20 %, JPEG 70": lambda image: jpeg(
        ImageEnhance.Contrast(sized(image, 0.5)).enhance(0.8), 70
    ),
    "50 %, +20 %, JPEG 70": lambda image: jpeg(
        ImageEnhance.Contrast(sized(image, 0.5)).enhance(1.2), 70
    ),
    "200 %, +20 %, JPEG 70": lambda image: jpeg(
        ImageEnhance.Contrast(sized(image, 2.0)).enhance(1.2), 70
    ),
}


def cohort_of(locators: list[str]) -> Cohort:
    """Images and nothing else."""
    names = np.array([f"{number:016x}" for number in range(len(locators))], dtype=object)
    blank = np.array([""] * len(locators), dtype=object)
    return Cohort(
        name="images",
        patient=names,
        study=names,
        image_id=names,
        group=names,
        image=np.array(locators, dtype=object),
        report=blank,
        label=np.zeros(len(locators), np.int64),
        split=blank,
        classes=("a", "b"),
        task="grades",
        subgroups={},
        show_images=False,
        digest="",
        key_id="",
    )


def false_pairs(store: ImageStore, patient: Ints) -> tuple[list[tuple[int, int]], float]:
    """Pairs of different patients that are taken for one image, and the seconds it took."""
    started, found = time.perf_counter(), []
    edges = [0, *np.flatnonzero(np.diff(patient)) + 1, len(patient)]
    blocks = np.array_split(np.array(list(pairwise(edges))), max(1, len(edges) // 400))
    for block in blocks:  # each block of patients against everybody after its first row
        start, stop = int(block[0][0]), int(block[-1][1])
        rows, after = np.arange(start, stop), np.arange(start, len(patient))
        found += [
            (a, b)
            for a, b, _, _ in same_images(store, rows, after)
            if a < b and patient[a] != patient[b]
        ]
    return found, time.perf_counter() - started


def recall(images: list[Image.Image], everything: list[str], folder: Path) -> Counter[str]:
    """How many copies of each kind are found among all images."""
    found: Counter[str] = Counter()
    for kind, change in COPIES.items():
        names = []
        for number, image in enumerate(images):
            names.append(str(folder / f"{kind.replace(' ', '')}-{number}.png"))
            change(image).save(names[-1])
        store = build_image_store(cohort_of([*everything, *names]), STRETCH, cache=folder)
        pairs = {
            (a, b)
            for a, b, _, _ in same_images(
                store, np.arange(len(everything)), np.arange(len(everything), len(store))
            )
        }
        found[kind] = sum(
            (number * len(everything) // len(images), len(everything) + number) in pairs
            for number in range(len(images))
        )
    return found


def measure(locators: list[str], patient: Ints, copied: int, folder: Path) -> None:
    """Print the figures of one set of images."""
    started = time.perf_counter()
    store = build_image_store(cohort_of(locators), STRETCH, cache=folder)
    seconds = time.perf_counter() - started
    print(f"{len(store)} images of {len(np.unique(patient))} patients; prepared in {seconds:.1f} s")
    pairs, seconds = false_pairs(store, patient)
    print(
        f"pairs of different patients taken for one image: {len(pairs)} ({seconds:.1f} s, all against all)"
    )
    for a, b in pairs[:20]:
        print(f"  rows {a} and {b}")
    chosen = [number * len(locators) // copied for number in range(copied)]
    for kind, count in recall([grey(locators[at]) for at in chosen], locators, folder).items():
        print(f"| {kind} | {count} of {copied} | {100 * count / copied:.1f} % |")


def reports(archive: Path) -> None:
    """Print how many pairs of reports are taken for one, and how many edited copies are found."""
    texts = [report.text for report in read_openi_reports(archive)]
    draw, n = np.random.default_rng(0), len(texts)
    first = np.sort(draw.choice(n, n // 10, replace=False))
    long = [row for row in first if len(texts[row].split()) >= 40]
    copies = []
    for row in long:
        words = texts[row].split()
        for _ in range(0, len(words), 25):
            words[draw.integers(len(words))] = "replaced"
        copies.append(" ".join(words))
    rows, repeated = np.arange(n + len(copies)), Counter(texts)
    found = list(same_reports([*texts, *copies], rows, first, np.setdiff1d(rows, first)))
    print(
        f"{n} reports, {len(first)} of them forgotten: {sum(repeated[texts[row]] > 1 for row in first)} occur again "
        f"word for word; {sum(b < n for _, b, _ in found)} pairs are taken for one report"
    )
    hits = {b for a, b, _ in found if b >= n and long[b - n] == a}
    print(f"one word in 25 replaced, 40 words or more: {len(hits)} of {len(long)} found")


def grey(locator: str) -> Image.Image:
    """An image as 8 bits."""
    path, _, number = locator.partition("#")
    return (
        Image.fromarray(np.load(path, mmap_mode="r")[int(number)])
        if number
        else Image.open(path).convert("L")
    )


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--phantoms", type=int, default=10_000, help="images of generated patients")
    parser.add_argument("--size", type=int, default=64, help="their side in pixels")
    parser.add_argument("--copied", type=int, default=200, help="images of which copies are made")
    parser.add_argument("--table", type=Path, help="a table of real images")
    parser.add_argument("--image", default="image_path", help="its column of images")
    parser.add_argument("--patient", default="patient_id", help="its column of patients")
    parser.add_argument(
        "--openi", type=Path, help="the archive of the Indiana collection's reports"
    )
    own = parser.parse_args()
    if own.openi:
        reports(own.openi)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if own.phantoms:
            made = folder / "phantoms"
            make_synthetic(made, patients=own.phantoms // 4, size=own.size, seed=11)
            with (made / TABLE).open() as file:
                people = np.array(
                    [row["patient_id"] for row in csv.DictReader(file)], dtype=object
                )[: own.phantoms]
            print(f"Phantoms of {own.size} pixels")
            measure(
                [f"{made / STACK}#{i}" for i in range(len(people))],
                codes(people)[0],
                own.copied,
                folder,
            )
        if own.table:
            with own.table.open(encoding="utf-8") as file:
                rows = sorted(csv.DictReader(file), key=lambda row: row[own.patient])
            print(f"{own.table.parent.name}")
            people = np.array([row[own.patient] for row in rows], dtype=object)
            measure(
                [str(own.table.parent / row[own.image]) for row in rows],
                codes(people)[0],
                min(own.copied, len(rows)),
                folder,
            )


if __name__ == "__main__":
    main()
