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
    order = numpy_generator(seed, "unlearn", "mixed", epoch).permutation(
        np.concatenate([forget, retained])
    )
    for start in range(0, len(order), loaders.batch_size):
        rows = order[start : start + loaders.batch_size]
        lost = np.isin(rows, forget)
        yield concatenate(*loaders.forget.batches(rows[lost]), *loaders.retain.batches(rows[~lost]))


def forgotten(batch: Batch, rows: Ints) -> int:
    """How many samples of a batch are of the given rows."""
    return int(np.isin(batch.row.cpu().numpy(), rows).sum())


def portion(loss: Callable[[], Tensor], part: int, whole: Batch) -> Tensor:
    """The share that ``part`` samples have in a batch's mean, given the mean over them; 0 without any."""
    return loss() * (part / len(whole)) if part else torch.zeros((), device=whole.image.device)
