"""Forgotten and retained samples shuffled together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch
from forgetmi.core.seeding import numpy_generator
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import concatenate


def mixed(loaders: GuardedLoaders, retained: Ints, *, seed: int, epoch: int) -> Iterator[Batch]:
    """All forgotten samples and some retained ones once, shuffled together; each batch's forgotten come first.

    Args:
        loaders: Forget and retain are read, in batches of their size.
        retained: Rows of the retain set.
        seed: Root seed.
        epoch: The order is a pure function of seed and epoch.
    """
    forget = loaders.forget.rows

    # One order over both sets.
    generator = numpy_generator(seed, "unlearn", "mixed", epoch)
    order = generator.permutation(np.concatenate([forget, retained]))

    for start in range(0, len(order), loaders.batch_size):
        rows = order[start : start + loaders.batch_size]

        # The forgotten of a batch come first.
        is_forgotten = np.isin(rows, forget)
        forget_batches = loaders.forget.batches(rows[is_forgotten])
        retain_batches = loaders.retain.batches(rows[~is_forgotten])
        yield concatenate(*forget_batches, *retain_batches)


def forgotten(batch: Batch, rows: Ints) -> int:
    """How many samples of a batch are of the given rows."""
    return int(np.isin(batch.row.cpu().numpy(), rows).sum())


def portion(loss: Callable[[], Tensor], part: int, whole: Batch) -> Tensor:
    """A part's contribution to the mean over a batch.

    Args:
        loss: Mean over the part; not computed where the part is empty.
        part: Samples of the part.
        whole: The batch.

    Returns:
        Scalar; 0 where the part is empty.
    """
    # An empty part has no mean.
    if not part:
        return torch.zeros((), device=whole.label.device)
    return loss() * (part / len(whole))
