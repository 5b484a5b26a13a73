"""Teach a model new embeddings of the forgotten while everyone else's stay: shared by our own two methods."""

from __future__ import annotations

import copy
import itertools

import numpy as np
from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, concatenate, embeddings, minimise, pieces, split
from forgetmi.unlearning.losses import distance, distillation, keep, towards
from forgetmi.unlearning.teacher import Table, outputs_of


def distil(
    model: ImageText,
    teacher: ImageText,
    *,
    clean: Table,
    goal: Table,
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
) -> ImageText:
    """Move the forgotten samples' embeddings to a goal and hold as many retained ones where they were.

    For each modality, the mean distance to the goal on the forgotten and to the original on the retained (0 to
    rounding, see `losses.keep`), both divided by the mean distance the forgotten have to go, so that neither modality
    dominates. Heads and gate do not move.
    Batch-norm statistics and dropout are those of evaluation; retained samples come in one seeded shuffle, each epoch
    going on where the last stopped. The learning rate falls to 0 along a straight line over the last epochs: a
    distance, unlike its square, pulls with the same force from near and far, so at a constant rate samples keep jumping
    about their goals.

    Args:
        model, teacher: The original and its frozen copy.
        clean, goal: The original's outputs on the forgotten, and what the student's shall be.
        loaders: Forget and retain are read.
        context: Of the run.
        epochs: Passes over the forgotten, >= 1.
        batch_size: Forgotten samples a step, and as many retained ones; at most the loaders' own batch size.
        lr: Learning rate of AdamW on the image encoder.
        text_lr_factor: That of the text encoder as a multiple of lr.
        weight_decay: Weight decay (none on biases and norm layers).
        clip: Largest gradient norm, 0 = none.
        kl: Weight of the divergence of both heads' predictions beside the distances, 0 = none.
        decay: Share of the epochs, at the end, over which the learning rate falls, 0 (it stays) to 1.

    Returns:
        The student.
    """
    student = copy.deepcopy(model).eval()
    for part in (student.gate, student.img_model.fc1, student.text_model.classifier):
        part.requires_grad_(False)
    optimiser = adamw(student.img_model, lr=lr, weight_decay=weight_decay)
    for group in adamw(
        student.text_model, lr=lr * text_lr_factor, weight_decay=weight_decay
    ).param_groups:
        optimiser.add_param_group(group)
    forget, retain = loaders.forget, loaders.retain
    kept = [retain.window(epoch, len(forget.rows)) for epoch in range(epochs)]
    hold = outputs_of(teacher, retain, np.unique(np.concatenate(kept)), context.cached)
    scale = _way(clean.image, goal.image), _way(clean.text, goal.text)
    context.facts["mean distance to go (image, text)"] = scale

    def objective(batch: Batch) -> dict[str, Tensor]:
        half = len(batch) // 2
        terms: dict[str, Tensor] = {}
        for name, way, said, wanted in zip(
            ("forget", "retain"),
            (towards, keep),
            split(student(batch), half),
            (goal.of(batch.row[:half]), hold.of(batch.row[half:])),
            strict=True,
        ):
            image, text, _ = map(way, embeddings(said), embeddings(wanted))
            terms |= {f"image {name}": image / scale[0], f"text {name}": text / scale[1]}
            if kl:
                terms[f"KL {name}"] = kl * (
                    distillation(said.image_logits, wanted.image_logits)
                    + distillation(said.text_logits, wanted.text_logits)
                )
        return terms

    rates = [group["lr"] for group in optimiser.param_groups]
    for epoch in context.epochs(epochs, student=student, optimiser=optimiser):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, (1.0 - epoch / epochs) / decay) if decay else rate
        pairs = zip(
            pieces(forget.epoch(epoch), batch_size),
            pieces(retain.batches(kept[epoch]), batch_size),
            strict=True,
        )
        context.log.epochs.append(
            minimise(
                itertools.starmap(concatenate, pairs), objective, optimiser, context, clip=clip
            )
        )
    return student.requires_grad_(True)


def _way(clean: Tensor, goal: Tensor) -> float:
    """Mean distance from where the forgotten are to where they shall be; 1 where nothing is to be moved."""
    return float(distance(clean, goal).mean()) or 1.0
