"""Project neurons' weights onto the complement of the directions in which a group of samples stands out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def select(forget: Tensor, retain: Tensor, *, share: float) -> Tensor:
    """The neurons with the largest mean absolute activation on the forgotten minus that on the retained.

    Args:
        forget, retain: Float[n, c] and Float[m, c].
        share: Share of the c neurons, above 0 to 1; at least two are taken, since one alone would always be silenced.

    Returns:
        Int64[k], ascending.
    """
    score = forget.abs().mean(dim=0) - retain.abs().mean(dim=0)
    count = min(len(score), max(2, int(share * len(score))))
    return score.topk(count).indices.sort().values


def directions(apart: Tensor, *, variance: float) -> Tensor:
    """Fewest orthonormal directions that hold the given share of the squared length of the normalised differences.

    Args:
        apart: Float[patients, k]; differences of length 0 are left out.
        variance: Above 0 to 1.

    Returns:
        Float[k, r], orthonormal columns; r = 0 where no patient differs.
    """
    length = apart.norm(dim=1, keepdim=True)
    unit = (apart / length.clamp(min=1e-8))[length[:, 0] > 1e-8]
    if len(unit) == 0:
        return apart.new_zeros(apart.shape[1], 0)

    _, singular, basis = torch.linalg.svd(unit.double(), full_matrices=False)

    # As many directions as reach the share, but none that is only rounding.
    explained = singular.square().cumsum(0) / singular.square().sum()
    needed = int((explained < variance - 1e-12).sum()) + 1
    rank = int((singular > 1e-10 * singular[0]).sum())
    count = min(needed, rank)
    return basis[:count].T


@torch.no_grad()
def project(weight: Any, neurons: Tensor, basis: Tensor) -> None:
    """``W_S <- (I - Q Q^T) W_S``, in place.

    Args:
        weight: Float[c, ...], one row an output neuron.
        neurons: Int64[k], the rows S.
        basis: Float[k, r], Q with orthonormal columns.
    """
    neurons = neurons.to(weight.device)
    basis = basis.to(weight.device).double()

    # In double precision, each neuron's weights as one row.
    rows = weight[neurons].double().flatten(1)
    projected = rows - basis @ (basis.T @ rows)
    weight[neurons] = projected.reshape(weight[neurons].shape).to(weight.dtype)
