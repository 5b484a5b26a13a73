"""Train the original and every retrained model."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Epochs, Outputs, Recorder
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.logs import STEP, log_epoch, log_step, measured
from forgetmi.core.task import Task
from forgetmi.model.executing import executing
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.losses import BaseLoss, base_loss, base_loss_names
from forgetmi.model.modes import learning
from forgetmi.model.net_module import NetModule
from forgetmi.model.optimiser import training_optimiser
from forgetmi.model.recipe import Recipe
from forgetmi.model.resume import EpochLoop, Stateful
from forgetmi.model.schedule import plateau_factor, shifted
from forgetmi.model.sharding import gather, resumable, shard, whole
from forgetmi.model.step_values import StepValues
from forgetmi.model.validate import validate

logger = logging.getLogger(__name__)

EpochRecord = dict[str, float | None]

# From a batch, the model's outputs for it and the base loss to what is minimised, a scalar
Objective = Callable[[Batch, Outputs, BaseLoss], Tensor]


@dataclass(frozen=True)
class TrainingTrace:
    """What happened, epoch by epoch.

    Args:
        epochs: For each epoch: mean ``loss`` and its parts, ``image`` and ``text`` (by head) and ``ranking``; ``steps``
            and ``samples``; ``seconds`` and ``cpu_seconds`` of training alone; where the model was validated
            ``validation_loss`` (cross-entropy of the heads, added) and ``validation_auc_image`` / ``_text`` (mean
            one-vs-rest, None where undefined).
    """

    epochs: tuple[EpochRecord, ...]

    def total(self, name: str) -> float:
        """Sum over the epochs, e.g. of ``steps``, ``samples``, ``seconds`` or ``cpu_seconds``."""
        return sum(epoch[name] or 0.0 for epoch in self.epochs)


def fit(
    model: NetModule,
    loader: Epochs,
    recipe: Recipe,
    *,
    seed: int,
    task: Task,
    validation: Epochs | None = None,
    resume: Path | None = None,
    observers: Sequence[Recorder] = (),
    progress: Callable[[int, int], None] | None = None,
    sharded: bool = False,
    objective: Objective | None = None,
    moments: Mapping[str, Any] | None = None,
) -> TrainingTrace:
    """Train a model in place, on its own device; it is in eval mode on return. Frozen layers stay as they are.

    The last epoch is the result: validation only informs, it never chooses. Dropout is a pure function of
    (seed, epoch), so that a run resumed from ``resume`` equals an uninterrupted one bit for bit.

    Args:
        model: Trained in place.
        loader: The training rows, in batches of at least 2.
        recipe: How.
        seed: Root seed.
        task: Of the labels; see `forgetmi.model.tasks.by_name.training_task`.
        validation: Rows to report loss and AUC on; see ``Recipe.validate_every``.
        resume: File that progress is saved to after each epoch and read from at the start; removed by the caller. Of
            several processes each has its own; of sharded ones the first's alone holds the weights and is handed on.
        observers: Called before and after each step; their state is saved to ``resume``, too.
        progress: Called with (epochs done, total number of epochs).
        sharded: Spread the encoders' weights over the processes until the end; see `forgetmi.model.sharding`.
        objective: What is minimised in place of the base loss.
        moments: State of the optimiser that the training goes on from; None = it starts anew.

    Raises:
        MethodError: The loss is not finite, there are no rows, a batch has a single sample, or observers come with
            accumulation or sharded weights.
        CheckpointError: ``resume`` is damaged or of another run.
    """
    _check(loader, recipe, observers, sharded=sharded)

    # What the training is, before the weights move: progress of another training is refused.
    key = _key(model, loader, recipe, seed=seed, task=task, validated=validation is not None)

    logger.info("training begun: %d epochs over %d rows", recipe.epochs, len(loader.rows))

    if sharded:
        shard(model)
    optimiser = training_optimiser(model, recipe)
    if moments is not None:
        # A copy, since an optimiser moves what it is given
        optimiser.load_state_dict(copy.deepcopy(dict(moments)))

    # Who watches may want the weights that a training begins with
    for observer in observers:
        observer.after_epoch(model, optimiser, 0)

    # All that changes from epoch to epoch.
    history = _History()
    state: dict[str, Stateful] = {
        **resumable(model, optimiser, sharded=sharded),
        "records": history,
    }
    for number, observer in enumerate(observers):
        state[f"observer {number}"] = observer

    loop = EpochLoop(recipe.epochs, state=state, file=resume, key=key, seed=seed, stage="train")
    with executing(model, recompute=recipe.recompute), closing(iter(loop)) as epochs:
        for epoch in epochs:
            wall, cpu = time.perf_counter(), time.process_time()
            learning(model)

            # Where the loss has stopped falling, the learning rate is lower.
            rate = recipe.lr * plateau_factor(history.losses(), recipe.plateau)
            record = _epoch(
                model,
                loader,
                recipe,
                optimiser,
                rate=rate,
                epoch=epoch,
                seed=seed,
                task=task,
                observers=observers,
                objective=objective,
            )
            for observer in observers:
                observer.after_epoch(model, optimiser, epoch + 1)
            record["seconds"] = time.perf_counter() - wall
            record["cpu_seconds"] = time.process_time() - cpu

            if validation is not None and recipe.validates(epoch):
                record |= validate(model, validation, task=task)

            history.epochs.append(record)
            log_epoch(logger, "training", epoch + 1, recipe.epochs, measured(record))
            if progress is not None:
                progress(epoch + 1, recipe.epochs)

    # Whole again, and ready for inference.
    if sharded:
        gather(model)
    model.eval()
    logger.info("training finished: %d epochs", len(history.epochs))
    return TrainingTrace(tuple(history.epochs))


def _check(loader: Epochs, recipe: Recipe, observers: Sequence[Recorder], *, sharded: bool) -> None:
    """Refuse trainings that cannot be made."""
    if observers and recipe.accumulation > 1:
        raise MethodError(
            Fault(
                "a watched training cannot accumulate batches",
                why="each observer keeps its own record of single steps",
                do="Train with accumulation 1.",
            )
        )

    # An observer would see this process's shard of each weight.
    if observers and sharded:
        raise MethodError(
            Fault(
                "a watched training cannot be sharded",
                why="observers read whole weights",
                do="Launch without FSDP.",
            )
        )

    if len(loader.rows) == 0:
        raise MethodError(Fault("there are no training rows"))


def _key(
    model: NetModule,
    loader: Epochs,
    recipe: Recipe,
    *,
    seed: int,
    task: Task,
    validated: bool,
) -> str:
    """What an interrupted training must share with the one that resumes it: options, initial weights and rows."""
    # The order of the rows follows from the rows and the seed.
    rows = np.ascontiguousarray(loader.rows, np.int64)
    rows_digest = hashlib.sha256(rows.tobytes()).hexdigest()
    weights = parameter_digest(model)
    key = f"{recipe!r} {seed} {task.name} {validated} {weights} {rows_digest} {len(loader)}"
    return hashlib.sha256(key.encode()).hexdigest()


class _History:
    """The records of the epochs so far, as a resumable part."""

    def __init__(self) -> None:
        self.epochs: list[EpochRecord] = []

    def losses(self) -> list[float]:
        """The training loss of each epoch."""
        return [float(epoch["loss"] or 0.0) for epoch in self.epochs]

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.epochs = state_dict["epochs"]


def _epoch(
    model: NetModule,
    loader: Epochs,
    recipe: Recipe,
    optimiser: torch.optim.Optimizer,
    *,
    rate: float,
    epoch: int,
    seed: int,
    task: Task,
    observers: Sequence[Recorder],
    objective: Objective | None,
) -> EpochRecord:
    """One pass over the loader; means of the loss and its parts."""
    # The learning rate follows the step's number over the whole training.
    steps_per_epoch = math.ceil(len(loader) / recipe.accumulation)
    total_steps = recipe.epochs * steps_per_epoch
    first_step = epoch * steps_per_epoch

    step = first_step
    names = base_loss_names(model.logit_names)
    sums = torch.zeros(len(names), device=model.device)
    watch = StepValues(partial(_told, names=names))
    samples = 0
    accumulated = 0  # batches whose gradients wait for the next step
    batches_of_step = 1

    for number, batch in enumerate(loader.epoch(epoch)):
        _refuse_single(batch)

        # A random shift for each image, on the processor, so that every device trains on the same ones.
        if recipe.shift > 0:
            batch = shifted(batch, std=recipe.shift, seed=seed, epoch=epoch)
        batch = batch.to(model.device)

        for observer in observers:
            observer.before_step(model, batch)

        # A new step begins; the last one of an epoch may have fewer batches.
        if accumulated == 0:
            batches_of_step = min(recipe.accumulation, len(loader) - number)
            optimiser.zero_grad(set_to_none=True)

        # Gradients, averaged over the batches of the step.
        losses = _losses(model, batch, recipe, task=task, objective=objective)
        (losses[0] / batches_of_step).backward()
        sums += losses.detach() * len(batch)
        samples += len(batch)

        accumulated += 1
        if accumulated < batches_of_step:
            continue
        accumulated = 0

        # What the step is judged by stays on the device; see `StepValues`.
        taken = _Step(step, epoch, rate * recipe.lr_factor(step, total_steps))
        norm = _clipped(optimiser, recipe)
        watch.add(taken, torch.stack([norm + sums[0], norm, *losses.detach()]))

        for group in optimiser.param_groups:
            group["lr"] = taken.lr * group["factor"]
        optimiser.step()
        step += 1

        for observer in observers:
            observer.after_step(model, batch)

    # Means over the samples.
    watch.read()
    means = (sums / samples).tolist()
    record: EpochRecord = dict(zip(names, means, strict=True))
    record["steps"] = step - first_step
    record["samples"] = samples
    return record


def _losses(
    model: NetModule, batch: Batch, recipe: Recipe, *, task: Task, objective: Objective | None
) -> Tensor:
    """What is minimised and the parts of the base loss, as `base_loss_names` names them."""
    lowered = nullcontext()
    if recipe.bf16:
        lowered = torch.autocast(model.device.type, dtype=torch.bfloat16)
    with lowered:
        outputs = model(batch)

    # Losses are computed in float32 whatever the forward pass ran in.
    outputs = outputs.each(Tensor.float)

    loss = base_loss(
        outputs,
        batch,
        task=task,
        ranking_weight=recipe.ranking_weight,
    )
    if objective is not None:
        loss = loss._replace(total=objective(batch, outputs, loss))
    return loss.stacked()


@dataclass(frozen=True)
class _Step:
    """A step whose values are read later: its number over the whole training, its epoch and its learning rate."""

    number: int
    epoch: int
    lr: float


def _clipped(optimiser: torch.optim.Optimizer, recipe: Recipe) -> Tensor:
    """Clip the gradients; the norm of all of them together before that, a scalar on their device."""
    parameters: list[nn.Parameter] = []
    for group in optimiser.param_groups:
        parameters.extend(group["params"])

    # An infinite limit measures the norm and clips nothing.
    largest = recipe.clip if recipe.clip > 0 else math.inf
    return whole(nn.utils.clip_grad_norm_(parameters, largest))


def _told(step: _Step, values: list[float], *, names: Sequence[str]) -> None:
    """Log a step, or stop where it was not finite.

    Args:
        step: Which.
        values: Of which the first is not finite after one loss or gradient that was not; the gradient's norm; the
            losses of the last batch.
        names: Of the losses.

    Raises:
        MethodError: A loss or a gradient is not finite.
    """
    checked, norm, *losses = values
    if not math.isfinite(checked):
        raise MethodError(
            Fault(
                f"training diverged at step {step.number} (epoch {step.epoch})",
                why=f"loss {losses[0]}, gradient norm {norm}, learning rate {step.lr:.3g}",
                do="Use a smaller learning rate.",
            )
        )

    if logger.isEnabledFor(STEP):
        named = dict(zip(names, losses, strict=True))
        log_step(logger, "training", step.number + 1, {**named, "lr": step.lr})


def _refuse_single(batch: Batch) -> None:
    if len(batch) < 2:
        raise MethodError(
            Fault(
                "a training batch has a single sample",
                why="batch statistics and the ranking loss need at least 2",
                do="Make the loader with Loader(..., avoid_single=True), or choose another batch size.",
            )
        )
