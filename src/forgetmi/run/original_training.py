"""Training of an original the way a method needs it, and the training log that some methods read later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forgetmi.core.batch import Recorder
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.partition import Partition
from forgetmi.data.loaders import Loader
from forgetmi.model.initialise import build
from forgetmi.model.net_module import NetModule
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.by_name import training_task
from forgetmi.model.train import TrainingTrace
from forgetmi.run.prepared import Prepared, Progress, trained_rows
from forgetmi.run.workflow import train
from forgetmi.unlearning import method as base
from forgetmi.unlearning.loaders import GuardedLoader
from forgetmi.unlearning.original import TrainedOriginal, TrainingTask


def train_original(
    *,
    prepared: Prepared,
    partition: Partition,
    method: base.Method[Any],
    recipe: Recipe | None = None,
    seed: int = 0,
    without_forgotten: bool = False,
    resume: Path | None = None,
    log: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> TrainedOriginal:
    """Train the original the way a method needs it: the usual one, watched by its recorder, or one of its own kind.

    Args:
        prepared: The cohort and architecture.
        partition: Who is in which set.
        method: Which method will unlearn from it.
        recipe: How.
        seed: Root seed of weights, order and dropout.
        without_forgotten: Leave the forgotten out.
        resume: File to save progress to and resume from.
        log: File or folder to store the training log in, if the method needs one; see `log_path`.
        progress: Called with (epochs done, total).
        device: Where to train.

    Returns:
        The model, in eval mode, what happened, and the log.
    """
    recipe = recipe or Recipe()

    # The training of every run, with whatever watches it
    def usual(observers: Sequence[Recorder]) -> tuple[NetModule, TrainingTrace]:
        return train(
            prepared=prepared,
            partition=partition,
            recipe=recipe,
            seed=seed,
            resume=resume,
            without_forgotten=without_forgotten,
            observers=observers,
            progress=progress,
            device=device,
        )

    # Most methods need the weights alone.
    if method.info.original is None:
        return TrainedOriginal(*usual(()))

    # The others see every sample of the training through a guarded loader.
    rows = trained_rows(partition, without_forgotten=without_forgotten)
    loader = Loader(
        prepared.records,
        rows,
        batch_size=recipe.batch_size,
        seed=seed,
        avoid_single=True,
        device=device,
    )
    samples = GuardedLoader(loader, labels=True, patient=partition.patient, device=device)
    task = TrainingTask(
        samples=samples,
        forget=partition.forget,
        patient=partition.patient,
        recipe=recipe,
        seed=seed,
        task=training_task(prepared.cohort.task),
        fresh_model=lambda fresh_seed: build(prepared.spec, seed=fresh_seed).to(device),
        usual=usual,
        state=resume,
        log=log,
        progress=progress,
    )

    # The method's own training
    trained = method.info.original.train(method, task)

    # Some methods read a log of the training later
    if trained.log is not None and log is not None:
        trained.log.save(log)
    return trained


def log_path(directory: Path) -> Path:
    """Where the training log of a checkpoint is stored: next to it."""
    return directory.with_name(f"{directory.name}.log")


def open_log(directory: Path, method: base.Method[Any]) -> Any:
    """The training log of a checkpoint, for a method that needs it; None for the others.

    Args:
        directory: The checkpoint of the original.
        method: The method.

    Raises:
        MethodError: The log is missing, damaged, or another method's.
    """
    if method.info.original is None:
        return None

    # A method that needs a log cannot do without
    path = log_path(directory)
    if not path.exists():
        raise MethodError(
            Fault(
                f"{method.info.title} needs the log of the original's training",
                where=path.name,
                why="it is not there",
                do=(
                    "Train the original for this method: forgetmi train --method NAME, "
                    "or forgetmi run without a given one."
                ),
            )
        )
    return method.info.original.load(path)
