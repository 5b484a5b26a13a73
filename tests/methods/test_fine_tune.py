"""Fine-tuning lowers the training loss on the retained and reads no one else."""

from __future__ import annotations

from typing import Any

import pytest

from forgetmi.methods.fine_tune import FineTune
from forgetmi.model.image_text import ImageText
from tests.unlearning.reading import training_loss


def test_a_step_lowers_the_training_loss_on_the_retained(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    """A small one, on all of them: many large ones may climb before they descend."""
    done = unlearn(FineTune(epochs=1, lr=1e-5, weight_decay=0.0), batch_size=1000)
    before, after = (training_loss(small, model) for model in (memorised, done.model))
    assert done.trace.epochs[0]["retain"] == pytest.approx(before, rel=1e-4)
    assert after < 0.9999 * before


def test_the_retained_are_read_once_an_epoch_and_no_one_else(small: Any, unlearn: Any) -> None:
    trace = unlearn(FineTune(epochs=2)).trace
    assert trace.samples == {"retain": 2 * len(small.partition.retain)}
    assert not any(name.startswith("gate.") for name in trace.changed)


def test_batch_statistics_move_only_when_asked(unlearn: Any) -> None:
    kept, moved = (unlearn(FineTune(epochs=1, bn=bn)).trace.changed for bn in ("eval", "train"))
    assert not any("running_" in name for name in kept)
    assert any("running_" in name for name in moved)
