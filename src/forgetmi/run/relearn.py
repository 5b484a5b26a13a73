"""Relearning: teach half of the forgotten patients again and watch how fast they, and the others, come back.

What is hidden but not gone returns faster than what was never there (Golatkar et al., CVPR 2020). The attack
`forgetmi.evaluation.attacks.relearn` reads the signals written here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.data.loaders import Loader
from forgetmi.evaluation.attacks.adversary import Relearning
from forgetmi.model.collect import collect
from forgetmi.model.executing import executing
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.net_module import NetModule
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.by_name import training_task
from forgetmi.model.train import fit
from forgetmi.run.prepared import Prepared, inference_batch_size


def taught_patients(partition: Partition, *, seed: int) -> Ints:
    """Codes of the half of the patients forgotten now that is taught again, the larger half of an odd number."""
    patients = np.unique(partition.patient[partition.of_request().forget])

    # The first half of a random order
    generator = numpy_generator(seed, "relearn", "taught")
    half = (len(patients) + 1) // 2
    return np.sort(generator.permutation(patients)[:half])


def relearn(
    *,
    prepared: Prepared,
    partition: Partition,
    model: NetModule,
    recipe: Recipe,
    epochs: int,
    lr: float,
    seed: int,
    folder: Path,
    resume: Path,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fine-tune a model in place on the taught patients and store its signals on all forgotten now, epoch by epoch.

    Deviation from the published code, which samples from the whole training set: only the taught patients are shown,
    so that the others' return is nothing but transfer. The learning rate is fixed.

    Args:
        prepared, partition: The run's data.
        model: Changed in place.
        recipe: How the original was trained; its loss, batch size and weight decay are kept.
        epochs: Passes over the taught patients, >= 1.
        lr: Learning rate, > 0.
        seed: Root seed.
        folder: Gets 000.npz (before) and one file an epoch.
        resume: File to save progress to and resume from.
        progress: Called with (epochs done, total).
    """
    # Signals are stored for all forgotten now; only the taught patients are trained on
    rows = partition.of_request().forget
    taught = rows[np.isin(partition.patient[rows], taught_patients(partition, seed=seed))]
    loader = Loader(
        prepared.records,
        taught,
        batch_size=recipe.batch_size,
        seed=seed,
        avoid_single=True,
        device=model.device,
    )
    folder.mkdir(parents=True, exist_ok=True)

    def store_signals(epoch: int) -> None:
        signals = collect(
            model,
            prepared.records,
            rows,
            cohort=prepared.cohort,
            model_digest=parameter_digest(model),
            batch_size=inference_batch_size(prepared.records),
            scale=prepared.records.scale,
        )
        # The attack reads no embedding, where there are heads
        small = replace(signals, embedding={}) if signals.logits else signals
        small.save(_file(folder, epoch))

    def after_epoch(done: int, total: int) -> None:
        store_signals(done)
        if progress is not None:
            progress(done, total)

    # Before the first step; a resumed model has left this state already
    if not _file(folder, 0).exists():
        store_signals(0)

    # The original's recipe, at a fixed learning rate and without shifted images
    fixed = replace(recipe, epochs=epochs, lr=lr, warmup=0.0, decay=0.0, plateau=0, shift=0.0)
    with executing(model, compile=prepared.compile):
        fit(
            model,
            loader,
            fixed,
            seed=seed,
            task=training_task(prepared.cohort.task),
            resume=resume,
            progress=after_epoch,
        )


def relearnt(folder: Path, *, epochs: int) -> bool:
    """Whether every epoch is stored."""
    return _file(folder, epochs).exists()


def read_relearning(folder: Path, *, taught: Ints) -> Relearning:
    """The signals that `relearn` stored, in the order of the epochs."""
    files = sorted(folder.glob("[0-9]*.npz"))
    return Relearning(tuple(Signals.load(path) for path in files), taught)


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"{epoch:03d}.npz"
