"""Linear heads as strictly convex problems: from a head's weights to the gradient and Hessian of its summed loss.

Each is the loss of its task, summed over the samples, + ``ridge n / 2 |w|^2 + <noise, w>``. A Hessian is one matrix, or
a stack of blocks where outputs do not depend on each other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forgetmi.core.labels import known_cells
from forgetmi.core.task import Objective


def logistic(features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
    """Multinomial cross-entropy.

    Args:
        features: Float64[n, d].
        label: Int64[n].
        noise: Float64[k, d], b of the objective.
        ridge: lambda, > 0.

    Returns:
        From Float64[k d] to Float64[k d] and Float64[k d, k d].
    """
    classes, width = noise.shape

    def gradient_and_hessian(weight: Tensor) -> tuple[Tensor, Tensor]:
        # Gradient.
        w = weight.view(classes, width)
        p = (features @ w.T).softmax(dim=1)
        residual = p - nn.functional.one_hot(label, classes)
        gradient = residual.T @ features + ridge * len(features) * w + noise

        # One block for each pair of classes: features weighted by the softmax's covariance.
        spread = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        rows: list[Tensor] = []
        for i in range(classes):
            blocks = [(spread[:, i, j, None] * features).T @ features for j in range(classes)]
            rows.append(torch.cat(blocks, dim=1))
        hessian = torch.cat(rows)

        penalty = ridge * len(features) * torch.eye(len(weight), dtype=hessian.dtype)
        return gradient.reshape(-1), hessian + penalty

    return gradient_and_hessian


def separate_logistic(features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
    """Binary cross-entropy of each finding for itself, over the samples in which it is known.

    Args:
        features: Float64[n, d].
        label: Float[n, f] of 0, 1 and NaN = unknown.
        noise: Float64[f, d], b of the objective.
        ridge: lambda, > 0; n is the number of samples in which a finding is known, at least 1.

    Returns:
        From Float64[f d] to Float64[f d] and Float64[f, d, d].
    """
    findings, width = noise.shape
    there = known_cells(label)
    target = label.where(there, 0.0).to(features)
    penalty = ridge * there.sum(dim=0).clamp(min=1).to(features)
    identity = torch.eye(width, dtype=features.dtype)

    def gradient_and_hessian(weight: Tensor) -> tuple[Tensor, Tensor]:
        # Gradient; an unknown finding has none.
        w = weight.view(findings, width)
        p = (features @ w.T).sigmoid()
        residual = (p - target).where(there, 0.0)
        gradient = residual.T @ features + penalty[:, None] * w + noise

        # One block for each finding: features weighted by the variance of its prediction.
        spread = (p * (1 - p)).where(there, 0.0)
        blocks = [
            (spread[:, j, None] * features).T @ features + penalty[j] * identity
            for j in range(findings)
        ]
        return gradient.reshape(-1), torch.stack(blocks)

    return gradient_and_hessian


def least_squares(features: Tensor, label: Tensor, *, noise: Tensor, ridge: float) -> Objective:
    """Squared error of one output.

    Args:
        features: Float64[n, d].
        label: Float[n], all known.
        noise: Float64[1, d], b of the objective.
        ridge: lambda, > 0.

    Returns:
        From Float64[d] to Float64[d] and Float64[d, d].
    """
    target = label.to(features)
    penalty = ridge * len(features)
    hessian = 2 * features.T @ features + penalty * torch.eye(features.shape[1]).to(features)

    def gradient_and_hessian(weight: Tensor) -> tuple[Tensor, Tensor]:
        residual = features @ weight - target
        gradient = 2 * features.T @ residual + penalty * weight + noise.view(-1)
        return gradient, hessian

    return gradient_and_hessian
