"""Teach a model new embeddings of the forgotten while everyone else's stay: shared by our own two methods."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.methods.access import Loaders
from forgetmi.methods.base import Context
from forgetmi.methods.losses import distance, towards
from forgetmi.methods.steps import Means, adamw, concatenate, embeddings, split
from forgetmi.methods.teacher import Table, tabulate
from forgetmi.model.image_text import ImageText
from forgetmi.types import Outputs

TERMS = ("image forget", "text forget", "image retain", "text retain")
LOGIT_TERMS = ("KL forget", "KL retain")


def distil(
    model: ImageText, teacher: ImageText, *, clean: Table, goal: Table, loaders: Loaders, context: Context,
    epochs: int, lr: float, text_lr_factor: float, weight_decay: float, clip: float, kl: float = 0.0,
) -> ImageText:
    """Move the forgotten samples' embeddings to a goal and hold as many retained ones where they were.

    For each modality, the mean distance to the goal on the forgotten and to the original on the retained, both divided
    by the mean distance the forgotten have to go, so that neither modality dominates. Heads and gate do not move.
    Batch-norm statistics and dropout are those of evaluation; retained samples come in one seeded shuffle, each epoch
    going on where the last stopped.

    Args:
        model, teacher: The original and its frozen copy.
        clean, goal: The original's outputs on the forgotten, and what the student's shall be.
        loaders: Forget and retain are read.
        context: Of the run.
        epochs: Passes over the forgotten, >= 1.
        lr: Learning rate of AdamW on the image encoder.
        text_lr_factor: That of the text encoder as a multiple of lr.
        weight_decay: Weight decay (none on biases and norm layers).
        clip: Largest gradient norm, 0 = none.
        kl: Weight of the divergences of both heads' predictions beside the distances, 0 = none.

    Returns:
        The student.
    """
    student = copy.deepcopy(model).eval()
    for part in (student.gate, student.img_model.fc1, student.text_model.classifier):
        part.requires_grad_(False)
    optimiser = adamw(student.img_model, lr=lr, weight_decay=weight_decay)
    for group in adamw(student.text_model, lr=lr * text_lr_factor, weight_decay=weight_decay).param_groups:
        optimiser.add_param_group(group)
    forget, retain = loaders.forget, loaders.retain
    kept = [retain.window(epoch, len(forget.rows)) for epoch in range(epochs)]
    hold = tabulate(teacher, retain.batches(np.unique(np.concatenate(kept))))
    scale = _way(clean.image, goal.image), _way(clean.text, goal.text)
    context.facts["mean distance to go (image, text)"] = scale
    for epoch in context.epochs(epochs, student=student, optimiser=optimiser):
        means = Means((*TERMS, *LOGIT_TERMS) if kl else TERMS)
        for lost, held in zip(forget.epoch(epoch), retain.batches(kept[epoch]), strict=True):
            pairs = list(zip(split(student(concatenate(lost, held)), len(lost)),
                             (goal.of(lost.row), hold.of(held.row)), strict=True))
            terms = [term for said, wanted in pairs for term in distances(said, wanted, scale)]
            divergences = [divergence(said, wanted) for said, wanted in pairs] if kl else []
            context.step(sum([kl * term for term in divergences], sum(terms[1:], terms[0])), optimiser, clip=clip)
            means.add(torch.stack([*terms, *divergences]), len(lost))
        context.log.epochs.append(means.read())
    return student.requires_grad_(True)


def distances(said: Outputs, wanted: Outputs, scale: tuple[float, float]) -> list[Tensor]:
    """Mean distance of the image and of the text embeddings, each in units of its scale.

    Args:
        said, wanted: Outputs of n samples.
        scale: Of image and text, > 0.
    """
    ours, theirs = embeddings(said)[:2], embeddings(wanted)[:2]
    return [towards(a, b) / unit for a, b, unit in zip(ours, theirs, scale, strict=True)]


def divergence(said: Outputs, wanted: Outputs) -> Tensor:
    """Mean KL(wanted || said) of the image head's predictions plus that of the text head's, in nats."""
    return sum((nn.functional.kl_div(a.log_softmax(1), b.log_softmax(1), log_target=True, reduction="batchmean")
                for a, b in ((said.image_logits, wanted.image_logits), (said.text_logits, wanted.text_logits))),
               torch.zeros((), device=said.image_logits.device))


def _way(clean: Tensor, goal: Tensor) -> float:
    """Mean distance from where the forgotten are to where they shall be; 1 where nothing is to be moved."""
    return float(distance(clean, goal).mean()) or 1.0
