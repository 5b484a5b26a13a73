"""Noise strong enough that the original treats a noisy forgotten sample like a patient it never saw."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Model
from forgetmi.core.heads import mean_of_heads_there, own_heads
from forgetmi.core.labels import known
from forgetmi.core.modalities import IMAGE, TEXT
from forgetmi.core.task import Task
from forgetmi.data.noise import FALLBACK_NOISE, IMAGE_STD_GRID, TEXT_LEVEL_GRID, Perturbation
from forgetmi.unlearning.label_matched import matched_mean
from forgetmi.unlearning.loaders import GuardedLoader, GuardedLoaders
from forgetmi.unlearning.teacher import OutputTable, looked_up_or_run

FEWEST = 60


def calibrate_noise(
    teacher: nn.Module,
    loaders: GuardedLoaders,
    *,
    task: Task,
    seed: int,
    cached: OutputTable | None = None,
) -> tuple[float, float, dict[str, Any]]:
    """Choose the image and text noise without a retrained model.

    The level taken is the one of a fixed grid at which the original's mean loss (of classes the cross-entropy) on one
    noisy draw of the forget set comes closest to its mean loss on validation patients, re-weighted to the forget set's
    labels. Image and text are chosen independently, each on its own head; without one, on the mean over all heads.

    Args:
        teacher: The frozen original.
        loaders: Forget and validation are read, with labels.
        task: Of the labels.
        seed: Root seed; the draw is the one the method itself uses.
        cached: The original's cached outputs for validation samples, if there are any.

    Returns:
        Standard deviation of the image noise (pixel values in [0, 1]), level of the text noise (probability a word),
        and facts for the trace. Without predictions, below 60 forgotten images with a known label, or without
        validation patients with labels like theirs, there is no guide and the pair is (0.2, 0.5).

    Source: ours; Forget-MI tries several levels and reports them on the test set.
    """
    if not task.headed:
        return *FALLBACK_NOISE, {"noise": "fallback", "predictions to calibrate on": 0}

    forget = loaders.forget
    labels = torch.cat([batch.label for batch in forget.batches(forget.rows)])
    there = known(labels)
    labelled = int(there.sum())
    if labelled < FEWEST:
        return *FALLBACK_NOISE, {"noise": "fallback", "forgotten images with a label": labelled}

    # The loss that noisy forgotten samples should have: that of patients never trained on.
    original = looked_up_or_run(teacher, cached)
    target = _reference(original, loaders.validation, task.groups(labels)[there], task)
    if target is None:
        return *FALLBACK_NOISE, {
            "noise": "fallback",
            "validation images of the forgotten classes": 0,
        }

    # Both heads' mean loss at each level of the grid.
    image_losses: list[float] = []
    text_losses: list[float] = []
    for std, level in zip(IMAGE_STD_GRID, TEXT_LEVEL_GRID, strict=True):
        noise = Perturbation(image_std=std, text_level=level, seed=seed)
        noisy_batches = forget.batches(forget.rows, perturbation=noise)
        losses, have = _all_losses(teacher, noisy_batches, task)
        usable = there[:, None] & have
        fewest = int(usable.sum(dim=0).min())
        if fewest < FEWEST:
            return *FALLBACK_NOISE, {"noise": "fallback", "forgotten images with a label": fewest}
        image_losses.append(_mean(losses[:, 0], usable[:, 0]))
        text_losses.append(_mean(losses[:, 1], usable[:, 1]))

    # The level whose loss is closest, for each head.
    image = _closest(image_losses, target[0])
    text = _closest(text_losses, target[1])
    facts = {
        "noise": "calibrated",
        "image noise std": IMAGE_STD_GRID[image],
        "text noise level": TEXT_LEVEL_GRID[text],
        "target cross-entropy (image, text)": target,
        "reached": (image_losses[image], text_losses[text]),
    }
    return IMAGE_STD_GRID[image], TEXT_LEVEL_GRID[text], facts


def _closest(losses: list[float], target: float) -> int:
    """Position of the loss that is closest to the target; of several the first."""
    return int(np.argmin([abs(loss - target) for loss in losses]))


def _mean(values: Tensor, there: Tensor) -> float:
    return float(values[there].mean(dim=0))


def _all_losses(teacher: Model, batches: Iterable[Batch], task: Task) -> tuple[Tensor, Tensor]:
    """Loss of both heads on all samples, Float[n, 2], and whether a sample has what the head reads, Bool[n, 2]."""
    pairs = [_losses(teacher, batch, task) for batch in batches]
    return torch.cat([loss for loss, _ in pairs]), torch.cat([there for _, there in pairs])


@torch.no_grad()
def _losses(teacher: Model, batch: Batch, task: Task) -> tuple[Tensor, Tensor]:
    """Loss of both heads, Float[b, 2], 0 where the label is unknown; whether the head is for the sample, Bool[b, 2]."""
    out = teacher(batch)

    # Each head for itself.
    losses: list[Tensor] = []
    have: list[Tensor] = []
    for modality in (IMAGE, TEXT):
        heads = own_heads(out, modality)
        of_heads = [task.loss(out.head(head), batch.label) for head in heads]
        mean, there = mean_of_heads_there(of_heads, [batch.there(head) for head in heads])
        losses.append(mean)
        have.append(there)
    return torch.stack(losses, dim=1), torch.stack(have, dim=1)


def _reference(
    teacher: Model, validation: GuardedLoader, forgotten: Tensor, task: Task
) -> tuple[float, float] | None:
    """Mean loss of both heads on validation, with the forgotten's mix of labels; None if none is shared.

    `forgotten` are the groups of their known labels.
    """
    batches = list(validation.batches(validation.rows))
    if not batches:
        return None

    # Losses of all validation samples.
    label = torch.cat([batch.label for batch in batches])
    losses, have = _all_losses(teacher, batches, task)
    groups = task.groups(label)

    # Each head's, re-weighted to the forgotten samples' labels.
    means: list[float] = []
    for column in range(losses.shape[1]):
        there = known(label) & have[:, column]
        if not bool(torch.isin(groups[there], forgotten).any()):
            return None
        means.append(matched_mean(groups[there], losses[there, column], forgotten))
    image, text = means
    return image, text
