"""The release's loss: four distances, a cap on retention, rounded weights, and a sign that the noise switch flips."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from forgetmi.unlearning.losses import towards


class Embeddings(NamedTuple):
    """Embeddings of one batch under one model, Float[b, d] each."""

    image: Tensor
    text: Tensor
    joint: Tensor


class Losses(NamedTuple):
    """The four distances, scalars (called uu, md, ukr and mkr in the release)."""

    UU: Tensor
    MU: Tensor
    UR: Tensor
    MR: Tensor


class Weights(NamedTuple):
    """Weight of each distance; in the release beta, theta, alpha and gamma."""

    UU: float
    MU: float
    UR: float
    MR: float


class Margins(NamedTuple):
    """Caps of the two retention distances, scalars without gradient."""

    UR: Tensor
    MR: Tensor


def four_losses(
    *,
    unlearned_forget: Embeddings,
    original_noisy: Embeddings,
    unlearned_retain: Embeddings,
    original_retain: Embeddings,
) -> Losses:
    """UU, MU, UR and MR: batch means of Euclidean distances, all of them positive here.

    Args:
        unlearned_forget: Forgotten samples under the model being unlearned.
        original_noisy: Their noisy copies under the original.
        unlearned_retain, original_retain: Retained samples under either.

    Source: Hardan et al. 2025 (arXiv 2506.23145), equations 1 to 4, as in the release. Deviation: the distance is
    smooth at 0, where the release's gradient is not a number; equal to 1e-9 above a distance of 1.
    """
    uu, mu = _pair(unlearned_forget, original_noisy)
    ur, mr = _pair(unlearned_retain, original_retain)
    return Losses(UU=uu, MU=mu, UR=ur, MR=mr)


def _pair(student: Embeddings, target: Embeddings) -> tuple[Tensor, Tensor]:
    """Unimodal and multimodal distance of a student's embeddings to a target's."""
    # Both unimodal embeddings side by side count as one.
    student_unimodal = torch.cat([student.image, student.text], dim=1)
    target_unimodal = torch.cat([target.image, target.text], dim=1)

    unimodal = towards(student_unimodal, target_unimodal)
    multimodal = towards(student.joint, target.joint)
    return unimodal, multimodal


def normalised_weights(
    *, alpha: float, beta: float, theta: float, gamma: float, rounded: bool = True
) -> Weights:
    """Divide the weights by their sum, and round to two decimals as the release does (the sum may become 0.99).

    Args:
        alpha, beta, theta, gamma: Weights of UR, UU, MU and MR, >= 0, not all 0.
        rounded: Whether to round.
    """
    total = alpha + beta + theta + gamma
    weights = Weights(UU=beta / total, MU=theta / total, UR=alpha / total, MR=gamma / total)

    # Each is rounded for itself, so that the sum may be off.
    if rounded:
        weights = Weights(*[round(weight, 2) for weight in weights])
    return weights


def margins_after(losses: Losses) -> Margins:
    """Retention distances plus 1: in the release those of the last batch of epoch 0."""
    return Margins(losses.UR.detach() + 1, losses.MR.detach() + 1)


def capped(losses: Losses, margins: Margins) -> Losses:
    """Cut the retention distances at the margins; above them there is no gradient.

    Source: the release calls it a hinge. It switches retention off exactly where it is violated most.
    """
    return losses._replace(
        UR=torch.minimum(losses.UR, margins.UR), MR=torch.minimum(losses.MR, margins.MR)
    )


def signed(losses: Losses, *, use_noise: bool) -> Losses:
    """Unlearning distances as they are with ``use_noise``, negated without: the switch does nothing else."""
    return losses if use_noise else losses._replace(UU=-losses.UU, MU=-losses.MU)


def total_loss(losses: Losses, weights: Weights) -> Tensor:
    """Weighted sum of `signed` and `capped` losses, to be minimised."""
    return (weights.UR * losses.UR + weights.UU * losses.UU) + (
        weights.MU * losses.MU + weights.MR * losses.MR
    )
