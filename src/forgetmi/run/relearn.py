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
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.model.train import fit
from forgetmi.run.prepared import Prepared, inference_batch_size


def taught_patients(partition: Partition, *, seed: int) -> Ints:
    """Codes of the half of the patients forgotten now that is taught again, the larger half of an odd number."""
    code = np.unique(partition.patient[partition.of_request().forget])
    return np.sort(
        numpy_generator(seed, "relearn", "taught").permutation(code)[: (len(code) + 1) // 2]
    )


def relearn(
    *,
    prepared: Prepared,
    partition: Partition,
    model: ImageText,
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
        progress: Called with (epochs done, epochs in all).
    """
    rows = partition.of_request().forget
    taught = rows[np.isin(partition.patient[rows], taught_patients(partition, seed=seed))]
    loader = Loader(
        prepared.records, taught, batch_size=recipe.batch_size, seed=seed, avoid_single=True
    )
    folder.mkdir(parents=True, exist_ok=True)

    def keep(epoch: int) -> None:
        said = collect(
            model,
            prepared.records,
            rows,
            cohort=prepared.cohort,
            model_digest=parameter_digest(model),
            batch_size=inference_batch_size(prepared.records),
        )
        replace(said, image_embedding=None, text_embedding=None, joint_embedding=None).save(
            _file(folder, epoch)
        )

    def told(done: int, total: int) -> None:
        keep(done)
        if progress is not None:
            progress(done, total)

    if not _file(folder, 0).exists():
        keep(0)
    fit(
        model,
        loader,
        replace(recipe, epochs=epochs, lr=lr, warmup=0.0, decay=0.0, plateau=0, shift=0.0),
        seed=seed,
        ordinal=prepared.cohort.ordinal,
        resume=resume,
        progress=told,
    )


def relearnt(folder: Path, *, epochs: int) -> bool:
    """Whether every epoch is stored."""
    return _file(folder, epochs).exists()


def read_relearning(folder: Path, *, taught: Ints) -> Relearning:
    """What `relearn` stored."""
    return Relearning(
        tuple(Signals.load(path) for path in sorted(folder.glob("[0-9]*.npz"))), taught
    )


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"{epoch:03d}.npz"
