"""Memory of the host and seconds an image, at the sizes of the paper and beyond.

    python studies/memory.py                       # 100,000 images at 64 px, 6,742 at 256 px, 200 at 2048 px
    python studies/memory.py --dicom 20            # seconds an image: first read, later reads, decoding each time
    python studies/memory.py --step                # one optimiser step of the paper's full model

Each size runs in a process of its own. Memory is anonymous resident memory (memory-mapped pages do not count), its peak
over building the store and two epochs of batches; a tenth of the images shows whether it grows.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from forgetmi.core.cohort import Cohort
from forgetmi.model.tasks.classes import GRADES

SIZES = ((10_000, 64), (100_000, 64), (674, 256), (6_742, 256), (20, 2048), (200, 2048))
REPORT = "The heart is normal in size. The lungs are clear. There is no pleural effusion or pneumothorax."


def cohort_of(locators: list[str]) -> Cohort:
    """Images with the same report, one patient each."""
    n = len(locators)
    names = np.array([f"{number:016x}" for number in range(n)], dtype=object)
    return Cohort(
        name="images",
        patient=names,
        study=names,
        image_id=names,
        group=names,
        image=np.array(locators, dtype=object),
        report=np.array([REPORT] * n, dtype=object),
        label=np.arange(n) % 4,
        split=np.array([""] * n, dtype=object),
        classes=("a", "b", "c", "d"),
        task="grades",
        subgroups={},
        show_images=False,
        digest="",
        key_id="",
    )


def stack(path: Path, images: int, size: int) -> None:
    """Random images, written one by one."""
    draw = np.random.default_rng(0)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (images, size, size)}
        )
        for _ in range(images):
            file.write(draw.integers(0, 255, size * size, dtype=np.uint8).tobytes())


def images_worker(images: int, size: int, folder: str) -> None:
    """Build the store, then read every image twice in batches."""
    from forgetmi.core.cost import Meter, anonymous_memory
    from forgetmi.data.image_store import build_image_store
    from forgetmi.data.loaders import Loader, SampleStore
    from forgetmi.data.preprocessing import ImagePreprocessing
    from forgetmi.data.tokenizer import Tokenizer
    from forgetmi.data.wordpiece import train_wordpiece
    from forgetmi.run.prepared import inference_batch_size

    here = Path(folder)
    stack(here / "stack.npy", images, size)
    before = anonymous_memory()
    with Meter() as meter:
        cohort = cohort_of([f"{here}/stack.npy#{number}" for number in range(images)])
        started = time.perf_counter()
        store = build_image_store(cohort, ImagePreprocessing(size=size), cache=here / "cache")
        first = time.perf_counter() - started
        tokenizer = Tokenizer(train_wordpiece([REPORT] * 5, list("abcde"), size=60, min_patients=1))
        records = SampleStore.of(cohort, store, tokenizer)
        loader = Loader(
            records, np.arange(images), batch_size=inference_batch_size(records), seed=0
        )
        started = time.perf_counter()
        for epoch in range(2):
            for batch in loader.epoch(epoch):
                assert float(batch.image[0, 0, 0, 0]) >= 0
        later = (time.perf_counter() - started) / 2
    peak = (meter.cost.peak_memory - before) / 2**20
    print(
        f"| {images:,} | {size} | {images * size * size * 2 / 2**20:,.0f} | {peak:,.0f} | "
        f"{1000 * first / images:.2f} | {1000 * later / images:.2f} |",
        flush=True,
    )


def dicom_worker(images: int, folder: str) -> None:
    """First and later reads of full-size DICOM files beside decoding each time."""
    from forgetmi.cohort.phantom.mimic import make_mimic_phantom
    from forgetmi.data.decode import read_image
    from forgetmi.data.image_store import build_image_store
    from forgetmi.data.preprocessing import ImagePreprocessing

    here, rows = Path(folder), []
    made = make_mimic_phantom(here / "tree", patients=max(6, images // 3))
    files = sorted(map(str, made.root.rglob("*.dcm")))[:images]
    for size, fit in ((256, "pad"), (2048, "center_crop")):
        prepare = ImagePreprocessing(size=size, fit=fit)  # pyright: ignore[reportArgumentType]
        started = time.perf_counter()
        for file in files:
            prepare.apply(read_image(file).pixels)
        each = time.perf_counter() - started
        started = time.perf_counter()
        store = build_image_store(cohort_of(files), prepare, cache=here / "cache")
        rows.append((size, each, time.perf_counter() - started, store))
    shutil.rmtree(made.root)  # whatever is read now does not come from DICOM files
    for size, each, first, store in rows:
        started = time.perf_counter()
        for row in range(len(files)):
            store.images(np.array([row]))
        later = time.perf_counter() - started
        print(
            f"| {size} | "
            + " | ".join(f"{1000 * seconds / len(files):.1f}" for seconds in (each, first, later))
            + " |",
            flush=True,
        )


def step_worker(folder: str) -> None:
    """Two optimiser steps at full size; the first one's learning rate is 0."""
    from forgetmi.authors_code.recipes import JOINT_CHESTXRAY
    from forgetmi.core.cost import Meter
    from forgetmi.data.image_store import build_image_store
    from forgetmi.data.loaders import Loader, SampleStore
    from forgetmi.data.preprocessing import ImagePreprocessing
    from forgetmi.data.tokenizer import Tokenizer
    from forgetmi.data.wordpiece import train_wordpiece
    from forgetmi.model.initialise import build
    from forgetmi.model.spec import paper
    from forgetmi.model.train import fit

    here = Path(folder)
    stack(here / "stack.npy", 8, 2048)
    cohort = cohort_of([f"{here}/stack.npy#{number}" for number in range(8)])
    store = build_image_store(
        cohort, ImagePreprocessing(size=2048, fit="center_crop"), cache=here / "cache"
    )
    tokenizer = Tokenizer(train_wordpiece([REPORT] * 5, list("abcde"), size=60, min_patients=1))
    model = build(paper(4, 31_090), seed=0)
    weights = sum(parameter.numel() for parameter in model.parameters())
    with Meter() as meter:
        trace = fit(
            model,
            Loader(SampleStore.of(cohort, store, tokenizer), np.arange(8), batch_size=4, seed=0),
            replace(JOINT_CHESTXRAY, epochs=1),
            seed=0,
            task=GRADES,
        )
    seconds, peak = (
        trace.total("cpu_seconds") / trace.total("steps"),
        meter.cost.peak_memory / 2**30,
    )
    print(
        f"{weights / 1e6:.0f} M weights, batch 4 at 2048 pixels: {seconds:.0f} CPU s a step, "
        f"loss {trace.epochs[0]['loss']:.3f}, peak {peak:.1f} GiB",
        flush=True,
    )


def main() -> None:
    """Run what was asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dicom", type=int, default=0, help="DICOM files to time")
    parser.add_argument("--step", action="store_true", help="one optimiser step of the full model")
    own = parser.parse_args()
    jobs: list[tuple[Callable[..., None], tuple[int, ...]]] = [
        (images_worker, size) for size in SIZES
    ]
    if own.dicom:
        jobs = [(dicom_worker, (own.dicom,))]
        print(
            "| pixels | decoding each time, ms | first read, ms | later reads, ms |\n|---|---|---|---|",
            flush=True,
        )
    elif own.step:
        jobs = [(step_worker, ())]
    else:
        print(
            "| images | pixels | all images, MiB | peak anonymous memory, MiB | first read, ms | later reads, ms |\n"
            "|---|---|---|---|---|---|",
            flush=True,
        )
    for work, arguments in jobs:
        with tempfile.TemporaryDirectory() as folder:
            process = get_context("spawn").Process(target=work, args=(*arguments, folder))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{work.__name__}{arguments} ended with {process.exitcode}")


if __name__ == "__main__":
    main()
