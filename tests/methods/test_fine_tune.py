"""Fine-tuning lowers the training loss on the retained and reads no one else."""

from __future__ import annotations

from typing import Any

import torch

from forgetmi.core.arrays import Ints
from forgetmi.data.loaders import Loader
from forgetmi.methods.fine_tune import FineTune
from forgetmi.model.image_text import ImageText
from forgetmi.model.losses import base_loss


@torch.no_grad()
def training_loss(small: Any, model: ImageText, rows: Ints) -> float:
    batches = Loader(small.prepared.records, rows, batch_size=16, seed=0, shuffle=False).epoch(0)
    return sum(float(base_loss(model(batch), batch).total) * len(batch) for batch in batches) / len(
        rows
    )


def test_the_training_loss_on_the_retained_does_not_rise(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    done = unlearn(FineTune(epochs=3, lr=3e-4))
    before, after = (
        training_loss(small, model, small.partition.retain) for model in (memorised, done.model)
    )
    assert after < before


def test_the_retained_are_read_once_an_epoch_and_no_one_else(small: Any, unlearn: Any) -> None:
    trace = unlearn(FineTune(epochs=2)).trace
    assert trace.samples == {"retain": 2 * len(small.partition.retain)}
    assert not any(name.startswith("gate.") for name in trace.changed)


def test_batch_statistics_move_only_when_asked(unlearn: Any) -> None:
    kept, moved = (unlearn(FineTune(epochs=1, bn=bn)).trace.changed for bn in ("eval", "train"))
    assert not any("running_" in name for name in kept)
    assert any("running_" in name for name in moved)
