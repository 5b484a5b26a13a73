"""What training, unlearning and prediction reach on an accelerator, and how far the card's own limits are.

    python studies/gpu.py     # both models, batch 16, as a user gets it
    python studies/gpu.py --presets paper --batch 16 64 --store-on host device --compile off on graphs
    python studies/gpu.py --device cpu --presets compact --images 16 --batch 4 --side 128     # anywhere, tiny

One row a configuration. Training and prediction are images a second; of an unlearning method the second epoch counts,
without what is done once a run. Parts come from the profiler, by names of operations, over one run more. The ceilings
are measured in the same run: copies of pinned memory to the card, and square matrix products in the type of the forward
pass.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.energy import joules_so_far
from forgetmi.core.partition import Partition
from forgetmi.data.device_films import Feeding
from forgetmi.data.loaders import Loader
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.methods.undo import Undo
from forgetmi.model.architecture import Architecture
from forgetmi.model.executing import executing
from forgetmi.model.execution import Execution
from forgetmi.model.initialise import build
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.model.train import fit
from forgetmi.run import workflow
from forgetmi.run.prepared import Prepared
from forgetmi.unlearning.method import unlearn

WORKS = ("training", "forget_mi", "undo", "predict")

# Fewer images measure what a run does once more than its steps
FEWEST = 512

# Parts of a step, by what the names of their operations contain; the first that fits counts
PARTS = {
    "waits": ("local_scalar_dense", "Synchronize", "aten::item"),
    "copies": ("Memcpy", "aten::copy_", "aten::_to_copy", "pin_memory"),
    "optimiser": ("Optimizer", "adam", "_foreach", "linalg_vector_norm"),
    "pictures": ("conv", "batch_norm", "pool", "threshold", "relu"),
    "texts": ("mm", "softmax", "layer_norm", "gelu", "dropout", "embedding", "tanh"),
}

HEADINGS = (
    "model",
    "work",
    "batch",
    "films kept on",
    "compiled",
    "images a second",
    *(f"{part}, %" for part in PARTS),
    "reading alone, images a second",
    "GiB",
    "J a run",
)


@dataclass(frozen=True)
class Case:
    """One configuration."""

    preset: str
    batch: int
    store_on: Any
    compile: Any
    work: str


@dataclass(frozen=True)
class Bench:
    """What all configurations of one model share.

    Args:
        prepared: Films and reports.
        sets: Who is forgotten.
        rows: The images of an epoch of training, and of a prediction.
        device: Where it is measured.
        bf16: Whether forward passes run in bfloat16.
    """

    prepared: Prepared
    sets: Partition
    rows: np.ndarray
    device: str
    bf16: bool


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every configuration and print its row."""
    own = _parser().parse_args(argv)
    if own.device == "cuda" and own.images < FEWEST:
        raise SystemExit(f"--images: measure {FEWEST} or more on a GPU.")

    name = torch.cuda.get_device_name() if own.device == "cuda" else "processor"
    print(f"{name}, torch {torch.__version__}: {ceilings(own.side, own.device)}\n")
    print("| " + " | ".join(HEADINGS) + " |\n" + "|---" * len(HEADINGS) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for preset in own.presets:
            bench = prepared_bench(preset, own, Path(folder))
            for batch, store_on, how, work in product(
                own.batch, own.store_on, own.compile, own.works
            ):
                print(row(bench, Case(preset, batch, store_on, how, work)), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cuda", choices=("cuda", "cpu"))
    add("--presets", nargs="+", default=["compact", "paper"], choices=("compact", "paper"))
    add("--size", type=int, default=64, help="pixels a side of the compact model's films")
    add("--layers", type=int, default=0, help="text layers; 0 = the model's own")
    add("--batch", type=int, nargs="+", default=[16])
    add("--images", type=int, default=FEWEST, help="images an epoch")
    add("--store-on", nargs="+", default=["auto"], choices=("auto", "device", "host"))
    add("--compile", nargs="+", default=["off"], choices=("off", "on", "graphs"))
    add("--works", nargs="+", default=list(WORKS), choices=WORKS)
    add("--side", type=int, default=8192, help="side of the matrices of the ceiling")
    return parser


def prepared_bench(preset: Any, own: argparse.Namespace, folder: Path) -> Bench:
    """Generated films and reports for one model; films of the paper's size repeat smaller ones' structure."""
    size = 2048 if preset == "paper" else own.size
    layers = own.layers or (12 if preset == "paper" else 2)

    # About two thirds of all images are trained on
    cohort = SyntheticCohort(patients=max(30, own.images), size=min(size, 512)).load()
    sets = partition(cohort, forget=10.0)
    prepared = workflow.prepare(
        cohort=cohort,
        partition=sets,
        images=ImagePreprocessing(size=size),
        architecture=Architecture(preset=preset, layers=layers),
        cache=folder,
    )
    rows = np.sort(np.concatenate([sets.forget, sets.retain]))[: own.images]
    return Bench(prepared, sets, rows, own.device, bf16=own.device == "cuda")


def row(bench: Bench, case: Case) -> str:
    """The measured row of one configuration."""
    records = replace(bench.prepared.records, feeding=Feeding(store_on=case.store_on))
    prepared = replace(bench.prepared, records=records, compile=case.compile)
    bench = replace(bench, prepared=prepared)
    work = _WORKS[case.work](bench, case)

    # The first run warms up: films get to their place, shapes are compiled
    next(work)
    if bench.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    energy = joules_so_far()
    images, spent = next(work)
    used = joules_so_far()

    with profile(activities=_activities(bench.device)) as profiler:
        next(work)
    shares = parts(profiler, bench.device)

    reading = reading_rate(bench, case)
    memory = "-"
    if bench.device == "cuda":
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"
    joules = "-" if energy is None or used is None else f"{used - energy:.0f}"
    cells = [case.preset, case.work, case.batch, case.store_on, case.compile]
    cells += [f"{images / spent:.1f}", *(f"{100 * shares[part]:.0f}" for part in PARTS)]
    return "| " + " | ".join(map(str, [*cells, f"{reading:.0f}", memory, joules])) + " |"


# Runs of a work one after another: images that it took, and seconds
Runs = Iterator[tuple[int, float]]


def training(bench: Bench, case: Case) -> Runs:
    """Epochs of training."""
    model = build(bench.prepared.spec, seed=0).to(bench.device)
    loader = _loader(bench, case)
    recipe = Recipe(epochs=1, batch_size=case.batch, bf16=bench.bf16)
    with executing(model, compile=case.compile):
        while True:
            found = seconds(lambda: fit(model, loader, recipe, seed=0, task=GRADES), bench.device)
            yield len(bench.rows), found


def predict(bench: Bench, case: Case) -> Runs:
    """Predictions of the same images."""
    model = build(bench.prepared.spec, seed=0).to(bench.device).eval()
    while True:
        found = seconds(
            lambda: workflow.predict(prepared=bench.prepared, model=model, rows=bench.rows),
            bench.device,
        )
        yield len(bench.rows), found


def forget_mi(bench: Bench, case: Case) -> Runs:
    """An epoch of Forget-MI: forgotten and retained samples count."""
    images = 2 * len(bench.sets.forget)
    return _second_epoch(bench, case, ForgetMI(epochs=2, noise="given"), images)


def undo(bench: Bench, case: Case) -> Runs:
    """An epoch of UNDO."""
    return _second_epoch(bench, case, Undo(train_epochs=2), len(bench.sets.retain))


def _second_epoch(bench: Bench, case: Case, method: Any, images: int) -> Runs:
    """The second epoch of a method of two: what is done once a run comes before it or after."""
    model = build(bench.prepared.spec, seed=0).to(bench.device).eval()
    recipe = Recipe(epochs=1, batch_size=case.batch, bf16=bench.bf16)

    def fresh(seed: int) -> Any:
        made = build(bench.prepared.spec, seed=seed).to(bench.device)
        made.execution = Execution(compile=case.compile)
        return made

    # Losses have been read from the device when an epoch is told as done
    ends: list[float] = []

    def on_progress(done: int, total: int) -> None:
        ends.append(time.perf_counter())

    while True:
        with executing(model, compile=case.compile):
            unlearn(
                method,
                model,
                records=bench.prepared.records,
                partition=bench.sets,
                seed=0,
                recipe=recipe,
                fresh_model=fresh,
                batch_size=case.batch,
                progress=on_progress,
            )
        yield images, ends[-1] - ends[-2]


_WORKS: dict[str, Callable[[Bench, Case], Runs]] = {
    "training": training,
    "forget_mi": forget_mi,
    "undo": undo,
    "predict": predict,
}


def _loader(bench: Bench, case: Case) -> Loader:
    return Loader(
        bench.prepared.records,
        bench.rows,
        batch_size=case.batch,
        seed=0,
        avoid_single=True,
        device=bench.device,
    )


def reading_rate(bench: Bench, case: Case) -> float:
    """Images a second that batches bring when nobody computes."""
    loader = _loader(bench, case)
    return len(bench.rows) / seconds(lambda: list(map(len, loader.epoch(1))), bench.device)


def seconds(work: Callable[[], Any], device: str) -> float:
    """Seconds on the clock of a call, the device's work included."""
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def parts(profiler: Any, device: str) -> dict[str, float]:
    """Share of each part in the time of all operations: of the device, where one computes, but for waits."""
    spent: Counter[str] = Counter()
    for event in profiler.key_averages():
        part = next((name for name, words in PARTS.items() if _any(words, event.key)), "others")

        # The processor waits, the device does not
        there = device == "cuda" and part != "waits"
        spent[part] += event.self_device_time_total if there else event.self_cpu_time_total
    total = max(1, sum(spent.values()))
    return {part: spent[part] / total for part in PARTS}


def _any(words: Sequence[str], name: str) -> bool:
    return any(word in name for word in words)


def _activities(device: str) -> list[ProfilerActivity]:
    found = [ProfilerActivity.CPU]
    return [*found, ProfilerActivity.CUDA] if device == "cuda" else found


def ceilings(side: int, device: str) -> str:
    """What the card can do at most: matrix products, and copies of pinned memory, the fastest of five each."""
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    one = torch.randn(side, side, device=device, dtype=kind)
    products = 2 * side**3 / min(seconds(lambda: one @ one, device) for _ in range(6))

    host = torch.zeros(2**26, dtype=torch.uint8, pin_memory=device == "cuda")
    there = torch.empty_like(host, device=device)
    copy_rate = 2**26 / min(
        seconds(lambda: there.copy_(host, non_blocking=True), device) for _ in range(6)
    )
    return f"matrix products {products / 1e12:.2f} Tflop/s, copies {copy_rate / 1e9:.1f} GB/s"


if __name__ == "__main__":
    main()
