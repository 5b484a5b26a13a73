"""Distil new embeddings of forgotten samples into a model, and retain the others': shared by our own two methods."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.heads import mean_of_those_there
from forgetmi.core.modalities import TEXT
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule, branches, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw_over, concatenate, minimise, pieces, split, unimodal
from forgetmi.unlearning.losses import distance, head_distillation, keep, towards
from forgetmi.unlearning.teacher import OutputTable, outputs_of


def distil(
    model: NetModule,
    teacher: NetModule,
    *,
    clean: OutputTable,
    goal: OutputTable,
    loaders: GuardedLoaders,
    context: Context,
    epochs: int,
    batch_size: int,
    lr: float,
    text_lr_factor: float,
    weight_decay: float,
    clip: float,
    kl: float = 0.0,
    decay: float = 0.5,
) -> NetModule:
    """Move the forgotten samples' embeddings to a goal and keep as many retained ones where they were.

    For each modality, the loss is the mean distance to the goal on the forgotten and to the original on the retained (0
    to rounding, see `losses.keep`), both divided by the mean distance the forgotten have to go, so that neither
    modality dominates; means are over the samples that have the modality. Heads and what joins the embeddings do not
    move. Batch-norm statistics and dropout are those of evaluation; retained samples come in one seeded shuffle, each
    epoch going on where the last stopped. The learning rate falls to 0 along a straight line over the last epochs: a
    distance, unlike its square, pulls with the same force from near and far, so at a constant rate samples keep jumping
    about their goals.

    Args:
        model, teacher: The original and its frozen copy.
        clean, goal: The original's outputs for the forgotten, and the outputs that the student is to have.
        loaders: Forget and retain are read.
        context: Of the run.
        epochs: Passes over the forgotten, >= 1.
        batch_size: Forgotten samples a step, and as many retained ones; at most the loaders' own batch size.
        lr: Learning rate of AdamW on the image encoder, > 0.
        text_lr_factor: That of the text encoder as a multiple of lr.
        weight_decay: Weight decay (none on biases and norm layers).
        clip: Largest gradient norm, 0 = none.
        kl: Weight of the divergence of both heads' predictions, added to the distances, 0 = none.
        decay: Share of the epochs, at the end, over which the learning rate falls, 0 (it stays) to 1.

    Returns:
        The student.
    """
    student = copy.deepcopy(model).eval()
    optimiser = _encoder_optimiser(
        student, lr=lr, text_lr_factor=text_lr_factor, weight_decay=weight_decay
    )
    start_rates = [group["lr"] for group in optimiser.param_groups]

    # Each epoch sees as many retained samples as forgotten ones; the original's outputs are their goals.
    forget, retain = loaders.forget, loaders.retain
    retain_rows = [retain.window(epoch, len(forget.rows)) for epoch in range(epochs)]
    all_retain_rows = np.unique(np.concatenate(retain_rows))
    retain_goal = outputs_of(teacher, retain, all_retain_rows, context.cached)

    # The distance to go is each modality's unit.
    scale: dict[str, float] = {}
    goals = unimodal(goal.outputs)
    present = forget.present(forget.rows)
    for name, values in unimodal(clean.outputs).items():
        scale[name] = _distance_to_go(values, goals[name], present.get(name))
    context.facts[f"mean distance to go ({', '.join(scale)})"] = tuple(scale.values())

    task = context.task

    def objective(batch: Batch) -> dict[str, Tensor]:
        # The first half of a batch is forgotten, the second retained.
        half = len(batch) // 2
        forgotten, retained = batch.select(slice(half)), batch.select(slice(half, None))
        forget_outputs, retain_outputs = split(student(batch), half)
        forget_target, retain_target = goal.of(forgotten.row), retain_goal.of(retained.row)
        terms = partial(_terms, scale=scale, kl=kl, task=task)
        return {
            **terms("forget", towards, forget_outputs, forget_target, forgotten.present),
            **terms("retain", keep, retain_outputs, retain_target, retained.present),
        }

    for epoch in context.epochs(epochs, student=student, optimiser=optimiser):
        # The rate falls over the last epochs.
        factor = min(1.0, (1.0 - epoch / epochs) / decay) if decay else 1.0
        for group, start_rate in zip(optimiser.param_groups, start_rates, strict=True):
            group["lr"] = start_rate * factor

        # Batches of as many forgotten as retained samples.
        forget_batches = pieces(forget.epoch(epoch), batch_size)
        retain_batches = pieces(retain.batches(retain_rows[epoch]), batch_size)
        pairs = zip(forget_batches, retain_batches, strict=True)
        batches = itertools.starmap(concatenate, pairs)
        means = minimise(batches, objective, optimiser, context, clip=clip)
        context.log.epochs.append(means)

    return student.requires_grad_(True)


def _encoder_optimiser(
    student: NetModule, *, lr: float, text_lr_factor: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over the encoders, the text encoder with its own learning rate; heads and what joins are frozen."""
    free_but_joining(student)
    for head in student.heads.values():
        head.requires_grad_(False)

    # The image encoder's groups, then the text encoder's, then the others'.
    optimisers: list[torch.optim.AdamW] = []
    for branch, names in branches(student).items():
        free = [p for p in map(student.get_parameter, names) if p.requires_grad]
        rate = lr * text_lr_factor if branch == TEXT else lr
        if free:
            optimisers.append(adamw_over(free, lr=rate, weight_decay=weight_decay))

    optimiser, *others = optimisers
    for other in others:
        for group in other.param_groups:
            optimiser.add_param_group(group)
    return optimiser


def _terms(
    name: str,
    loss: Callable[[Tensor, Tensor], Tensor],
    outputs: Outputs,
    target: Outputs,
    present: Mapping[str, Tensor],
    *,
    scale: Mapping[str, float],
    kl: float,
    task: Task,
) -> dict[str, Tensor]:
    """Loss terms of the forgotten or of the retained samples, by name."""
    # The joint embedding follows from the others.
    targets = unimodal(target)
    terms: dict[str, Tensor] = {}
    for modality, values in unimodal(outputs).items():
        pair = (values, targets[modality])
        mean = mean_of_those_there(loss, pair, present.get(modality))
        terms[f"{modality} {name}"] = mean / scale[modality]
    if kl:
        # The heads' predictions, where they have a weight.
        terms[f"KL {name}"] = kl * head_distillation(outputs, target, task=task, present=present)
    return terms


def _distance_to_go(clean: Tensor, goal: Tensor, there: Tensor | None) -> float:
    """Mean distance between the forgotten samples' embeddings and their goals; 1 where nothing is to be moved."""
    distances = distance(clean, goal)
    if there is not None:
        distances = distances[there.to(distances.device)]
    return float(distances.mean()) or 1.0 if len(distances) else 1.0
