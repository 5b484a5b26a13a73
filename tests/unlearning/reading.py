"""Sets of the small cohort as a method sees them."""

from __future__ import annotations

from typing import Any

import torch

from forgetmi.model.image_text import ImageText
from forgetmi.model.losses import base_loss
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.loaders import GuardedLoaders


def loaders(small: Any, *reads: str, batch_size: int = 16, seed: int = 5) -> GuardedLoaders:
    """The forget, retain and validation sets, with labels if asked for ("labels")."""
    names = ("forget", "retain", "validation")
    return GuardedLoaders(
        small.prepared.records,
        {name: small.partition.rows(name) for name in names},
        patient=small.partition.patient,
        reads=frozenset({*names, *reads}),
        batch_size=batch_size,
        seed=seed,
    )


@torch.no_grad()
def training_loss(small: Any, model: ImageText, *, seed: int = 5) -> float:
    """On all retained as one batch, in the order of epoch 0, because its ranking loss depends on neighbours."""
    batch = next(loaders(small, "labels", batch_size=1000, seed=seed).retain.epoch(0))
    return float(base_loss(model(batch), batch, task=GRADES).total)
