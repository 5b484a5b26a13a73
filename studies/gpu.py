"""Training at full size on an accelerator: images a second, share of its matrix-product ceiling, time the loader takes.

    python studies/gpu.py                                            # 2048 px, 12 text layers, bfloat16, batch 16
    python studies/gpu.py --batch 32 --recompute                     # activations computed again on the way back
    python studies/gpu.py --device cpu --size 64 --layers 2 --batch 4 --images 8 --side 256   # anywhere, tiny

The ceiling is the best rate of square matrix products measured in the same run and type, not the maker's figure.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.batch import Batch
from forgetmi.data.loaders import Loader, prefetch_workers_for
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.model.architecture import Architecture
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.model.losses import base_loss
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.model.train import fit
from forgetmi.run import workflow
from forgetmi.run.prepared import Prepared


def seconds(work: Callable[[], Any], device: str, repeats: int = 5) -> float:
    """Wall seconds of a call, the device's work included; the fastest of several after one to warm up."""
    found = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return min(found[1:])


def ceiling(side: int, device: str) -> float:
    """Floating-point operations a second of the product of two square matrices."""
    a = torch.randn(
        side, side, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32
    )
    return 2 * side**3 / seconds(lambda: a @ a, device)


def operations(model: ImageText, batch: Batch) -> int:
    """Floating-point operations of a forward and backward pass, by count."""
    with FlopCounterMode(display=False) as counter:
        base_loss(model(batch), batch, task=GRADES).total.backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def main(argv: Sequence[str] | None = None) -> None:
    """Train one epoch of generated films and print one row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument(
        "--size", type=int, default=2048, help="pixels a side; below 2048 the compact image encoder"
    )
    parser.add_argument("--layers", type=int, default=12, help="text layers")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=64, help="images an epoch")
    parser.add_argument(
        "--side", type=int, default=8192, help="side of the matrices of the ceiling"
    )
    parser.add_argument(
        "--recompute", action="store_true", help="compute activations again on the way back"
    )
    own = parser.parse_args(argv)
    cohort = SyntheticCohort(patients=max(8, own.images // 2), size=min(own.size, 512)).load()
    sets = partition(cohort, forget=10.0)
    with tempfile.TemporaryDirectory() as folder:
        prepared = workflow.prepare(
            cohort=cohort,
            partition=sets,
            images=ImagePreprocessing(size=own.size),
            cache=Path(folder),
            architecture=Architecture(
                preset="paper" if own.size >= 2048 else "compact", layers=own.layers
            ),
        )
        measure(prepared, own)


def measure(prepared: Prepared, own: argparse.Namespace) -> None:
    """Print the row."""
    gpu = own.device == "cuda"
    model = build(prepared.spec, seed=0).to(own.device)
    rows = np.arange(min(own.images, len(prepared.cohort)) // own.batch * own.batch)
    loader = Loader(
        prepared.records,
        rows,
        batch_size=own.batch,
        seed=0,
        prefetch_workers=prefetch_workers_for(own.device),
    )
    recipe = Recipe(epochs=1, batch_size=own.batch, bf16=gpu, recompute=own.recompute)
    batch = next(loader.epoch(0)).to(own.device)
    flops = operations(model, replace(batch)) / own.batch
    fit(model, loader, recipe, seed=0, task=GRADES)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    epoch = seconds(lambda: fit(model, loader, recipe, seed=0, task=GRADES), own.device, repeats=2)
    loading = seconds(
        lambda: [one.to(own.device) for one in loader.epoch(0)], own.device, repeats=2
    )
    best = ceiling(own.side, own.device)
    rate = len(rows) / epoch
    name = torch.cuda.get_device_name() if gpu else "processor"
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if gpu else "-"
    print(
        "| device | pixels | text layers | batch | images a second | share of the ceiling | loader's share of time "
        "| peak memory, GiB |\n" + "|---" * 8 + "|"
    )
    print(
        f"| {name} | {own.size} | {own.layers} | {own.batch} | {rate:.1f} | {100 * rate * flops / best:.0f} % of "
        f"{best / 1e12:.2f} Tflop/s | {100 * loading / epoch:.0f} % | {peak} |"
    )


if __name__ == "__main__":
    main()
