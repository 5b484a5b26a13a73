"""How fast, as ratios: every pair is measured in one run, in processor seconds of one thread.

python studies/speed.py           # compact model: cached teacher and frozen layers, padding, bfloat16, set sizes
python studies/speed.py --full    # 12 text layers, 2048 pixels: paper mode against release-style execution
python studies/speed.py --count   # sample-forwards of whole runs at the sizes of MIMIC-CXR's lists
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forgetmi.authors_code.forget_mi import ForgetMIRelease
from forgetmi.authors_code.step import padded
from forgetmi.cohort.partition import partition
from forgetmi.cohort.phantom.mimic import make_mimic_phantom
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.batch import Batch
from forgetmi.core.partition import Partition
from forgetmi.data.decode import read_image
from forgetmi.data.noise import IMAGE_STD_GRID, Perturbation
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.methods.cf_k import CFk
from forgetmi.methods.eu_k import EUk
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.architecture import Architecture
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.run.prepared import Prepared
from forgetmi.unlearning.loop import adamw, concatenate
from forgetmi.unlearning.teacher import frozen

LENGTH = 320  # tokens the release pads every report to
# Forgotten and retained images at 3, 6 and 10 percent of MIMIC-CXR's 6,742 listed images, and how many validation has.
LISTS = {3: (201, 6010), 6: (401, 5810), 10: (674, 5537)}
VALIDATION = 620
EPOCHS = 30


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Processor seconds of the fastest of several calls."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def show(title: str, slow: float, fast: float, unit: str = "ms", scale: float = 1e3) -> None:
    """One row: both figures and their ratio."""
    print(
        f"| {title} | {scale * slow:,.1f} {unit} | {scale * fast:,.1f} {unit} | {slow / fast:.2f} |",
        flush=True,
    )


def forwards(
    forget: int, retain: int, *, validation: int = VALIDATION, epochs: int = EPOCHS
) -> dict[str, int]:
    """Sample-forwards of a whole run of Forget-MI's defaults, all that `forgetmi.run.workflow.unlearn` makes.

    With the original's signals at hand (``original``) those "without signals" are not made.

    Args:
        forget, retain, validation: Images of each set; 60 or more are forgotten, else nothing is calibrated.
        epochs: Passes over the forgotten.

    Returns:
        What they are made for, in the order of the table's columns, to their number. A trace counts samples read: it
        has one more pass over the forgotten (calibration reads their labels), and no gate (fitted after the method).
    """
    return {
        "paper mode, updates": 2 * epochs * forget,
        "with noisy copies": forget,
        "with gate": retain,
        "with calibration": len(IMAGE_STD_GRID) * forget,
        "without signals": min(epochs * forget, retain) + validation,
    }


def count() -> None:
    """Sample-forwards over whole runs: release-style execution, and paper mode with more and more of what it does."""
    heads = [f"{name} | ratio" for name in forwards(0, 0)]
    print(f"| percent | release-style | {' | '.join(heads)} |\n|---|---|{'---|---|' * len(heads)}")
    for percent, (forget, retain) in LISTS.items():
        release = EPOCHS * (6 * forget + 2 * retain)
        sums = accumulate(forwards(forget, retain).values())
        print(
            f"| {percent} | {release:,} | {' | '.join(f'{paper:,} | {release / paper:.1f}' for paper in sums)} |"
        )


def compact(patients: int) -> None:
    """The compact model at 64 pixels."""
    cohort = SyntheticCohort(patients=patients).load()
    sets = partition(cohort, forget=10.0)
    prepared = workflow.prepare(cohort=cohort, partition=sets)
    student = build(prepared.spec, seed=0).eval()
    teacher = frozen(student)
    records, some = prepared.records, sets.retain[:16]
    lost, held = records.batch(sets.forget[:16]), records.batch(some)
    noisy = Perturbation(image_std=0.2, text_level=0.5)

    def step(recompute: bool) -> None:
        if recompute:
            with torch.no_grad():
                teacher(records.batch(sets.forget[:16], perturbation=noisy))
                teacher(held)
        learn(student, concatenate(lost, held))

    print("| what | without | with | ratio |\n|---|---|---|---|")
    show(
        "step, teacher recomputed / cached",
        seconds(lambda: step(True)),
        seconds(lambda: step(False)),
    )
    show(
        "step, two student forwards / one",
        seconds(lambda: [learn(student, lost), learn(student, held)]),
        seconds(lambda: learn(student, concatenate(lost, held))),
    )
    wide = padded(held, min(LENGTH, prepared.spec.text.positions))
    show(
        f"text encoder, padded to {wide.tokens.shape[1]} / to the batch's longest",
        seconds(lambda: text_step(student, wide)),
        seconds(lambda: text_step(student, held)),
    )
    whole, first = student.text_model.bert, student.text_model
    show(
        "text encoder forward, all of the last layer / [CLS] alone",
        seconds(lambda: whole(held.tokens, attention_mask=held.mask)),
        seconds(lambda: first(held.tokens, held.mask)),
    )
    show(
        "training step, float32 / bfloat16",
        seconds(lambda: learn(student, held)),
        seconds(lambda: learn(student, held, bf16=True)),
    )
    held_layers(prepared, sets)
    sizes(prepared, student, sets)


def held_layers(prepared: Prepared, sets: Partition) -> None:
    """CF-k and EU-k of the last stage and transformer layer, the frozen layers computed anew in every pass or held."""
    model = build(prepared.spec, seed=0).eval()

    def spent(method: type[CFk | EUk], limit: int) -> tuple[float, ImageText]:
        done = workflow.base.unlearn(
            method(image_k=6, text_k=8, cache_mb=limit),
            model,
            records=prepared.records,
            partition=sets,
            seed=0,
            recipe=Recipe(),
            fresh_model=lambda seed: build(prepared.spec, seed=seed),
        )
        return done.trace.cost.cpu_seconds, done.model

    for method in (CFk, EUk):
        (slow, anew), (fast, held) = (spent(method, limit) for limit in (0, CFk().cache_mb))
        other = held.state_dict()
        apart = max(
            float((value - other[name]).abs().max()) for name, value in anew.state_dict().items()
        )
        show(
            f"{method.info.title}, frozen layers anew / held (weights apart by {apart:.0e})",
            slow,
            fast,
            "s",
            1,
        )


def learn(model: ImageText, batch: Batch, *, bf16: bool = False) -> None:
    """One forward and backward pass and optimiser step."""
    optimiser = adamw(model, lr=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out = model(batch)
    (out.image_logits.float().square().mean() + out.text_logits.float().square().mean()).backward()
    optimiser.step()


def text_step(model: ImageText, batch: Batch) -> None:
    """Forward and backward pass of the text encoder."""
    model.text_model(batch.tokens, batch.mask)[1].sum().backward()


def sizes(prepared: Prepared, model: ImageText, sets: Partition) -> None:
    """Cost of an epoch of Forget-MI against the number of forgotten and of retained images."""
    method = ForgetMI(noise="given", epochs=1)

    def cost(forget: int, retain: int) -> float:
        rest = np.sort(np.concatenate([sets.forget[forget:], sets.retain[retain:]]))
        part = replace(
            sets,
            forget=sets.forget[:forget],
            retain=sets.retain[:retain],
            validation=sets.validation,
            reference=rest,
            holdout=sets.holdout,
            patient=np.arange(len(sets.patient)),
            group=np.arange(len(sets.patient)),
        )
        return seconds(
            lambda: workflow.base.unlearn(
                method,
                model,
                records=prepared.records,
                partition=part,
                seed=0,
                recipe=Recipe(),
                fresh_model=lambda seed: build(prepared.spec, seed=seed),
            ),
            repeats=2,
        )

    forget, retain = len(sets.forget), len(sets.retain)
    print(
        "\n| forgotten images | retained images | CPU s an epoch | ms a forgotten image |\n|---|---|---|---|"
    )
    for lost, kept in (
        (forget // 4, retain),
        (forget // 2, retain),
        (forget, retain),
        (forget, retain // 2),
        (forget, retain // 4),
    ):
        spent = cost(lost, kept)
        print(f"| {lost} | {kept} | {spent:.2f} | {1e3 * spent / lost:.1f} |", flush=True)


def full(folder: Path, *, size: int, layers: int, films: tuple[int, int]) -> None:
    """Paper mode and release-style execution of the same updates on DICOM films, extrapolated to MIMIC-CXR's lists."""
    lost, kept = 8, 16
    made = make_mimic_phantom(folder / "tree", patients=12, size=films)
    files = sorted(map(str, made.root.rglob("*.dcm")))[: lost + kept]
    cohort = SyntheticCohort(patients=12, size=32).load()
    rows = np.arange(len(files))
    cohort = replace(
        cohort,
        **{
            name: getattr(cohort, name)[rows]
            for name in ("patient", "study", "image_id", "group", "report", "label", "split")
        },
        image=np.array(files, dtype=object),
        subgroups={},
    )
    code = np.arange(len(files))
    sets = Partition(
        forget=rows[:lost],
        retain=rows[lost:],
        validation=rows[:0],
        holdout=rows[:0],
        patient=code,
        group=code,
        cohort="",
    )
    images = ImagePreprocessing(size=size, fit="center_crop")
    prepared = workflow.prepare(
        cohort=cohort,
        partition=sets,
        images=images,
        cache=folder,
        min_patients=1,
        max_length=LENGTH,
        architecture=Architecture(preset="paper" if size == 2048 else "compact", layers=layers),
    )
    model = build(prepared.spec, seed=0).eval()
    ours = epochs(ForgetMI(noise="given", epochs=2), prepared, model, sets)
    theirs = epochs(ForgetMIRelease(epochs=2), prepared, model, sets)
    teacher = frozen(model)
    batch = prepared.records.batch(sets.retain[:4])

    def passes() -> None:
        with torch.no_grad():
            model(padded(batch, LENGTH))
            teacher(padded(batch, LENGTH))

    decode = (
        seconds(lambda: [images.apply(read_image(file).pixels) for file in files[:4]], repeats=1)
        / 4
    )
    stored = seconds(lambda: prepared.records.images.images(rows[:4]), repeats=1) / 4
    similarity = seconds(passes, repeats=2) / 4
    with torch.no_grad():
        once = seconds(lambda: teacher(batch), repeats=2) / 4
    print("| what | without | with | ratio |\n|---|---|---|---|")
    show("image, DICOM decoded each time / from the store", decode, stored)
    show("step, release-style / paper mode, a forgotten sample", theirs / lost, ours / lost, "s", 1)
    print(
        "\n| percent | release-style, s an epoch | paper mode, s an epoch | ratio |\n|---|---|---|---|"
    )
    for percent, (forget, retain) in LISTS.items():
        release = forget * (theirs / lost + 3 * decode) + retain * (similarity + decode)
        paper = forget * (ours / lost + (once * (1 + min(EPOCHS, retain / forget))) / EPOCHS)
        show(str(percent), release, paper, "s", 1)


def epochs(method: Any, prepared: Prepared, model: ImageText, sets: Partition) -> float:
    """Processor seconds of a method's second epoch: the release's first makes no update."""
    marks: list[float] = []
    workflow.base.unlearn(
        method,
        model,
        records=prepared.records,
        partition=sets,
        seed=0,
        recipe=Recipe(),
        batch_size=4,
        fresh_model=lambda seed: build(prepared.spec, seed=seed),
        progress=lambda done, total: marks.append(time.process_time()),
    )
    return marks[1] - marks[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="the paper's sizes")
    parser.add_argument("--count", action="store_true", help="sample-forwards of whole runs")
    parser.add_argument("--size", type=int, default=2048, help="pixels a side, with --full")
    parser.add_argument("--layers", type=int, default=12, help="text layers, with --full")
    parser.add_argument(
        "--films", type=int, nargs=2, default=(2544, 3056), help="rows and columns, with --full"
    )
    parser.add_argument("--patients", type=int, default=270, help="size of the generated cohort")
    own = parser.parse_args(argv)
    torch.set_num_threads(1)
    if own.count:
        count()
    elif own.full:
        with tempfile.TemporaryDirectory() as folder:
            full(Path(folder), size=own.size, layers=own.layers, films=tuple(own.films))
    else:
        compact(own.patients)


if __name__ == "__main__":
    main()
