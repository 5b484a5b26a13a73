"""NegGrad+: the objective by hand, and how the two sets are paired."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.batch import Outputs
from forgetmi.data.loaders import Loader
from forgetmi.methods.neg_grad_plus import NegGradPlus
from forgetmi.model.image_text import ImageText
from forgetmi.model.losses import base_loss
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.losses import classification


def test_classification_by_hand() -> None:
    image = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0], [9.0, 0.0]])
    text = torch.tensor([[0.0, 0.0], [0.0, math.log(7.0)], [9.0, 0.0]])
    expected = (-math.log(3 / 4) - math.log(1 / 2)) / 2 + (-math.log(1 / 2) - math.log(7 / 8)) / 2
    assert float(
        classification(Outputs.image_text(image, text), torch.tensor([0, 1, -1]), task=GRADES)
    ) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**31), st.lists(st.integers(-1, 1), min_size=1, max_size=6), st.integers(2, 5)
)
def test_classification_against_a_loop(seed: int, labels: list[int], classes: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    image, text = (
        4 * torch.randn(len(labels), classes, generator=draw, dtype=torch.float64) for _ in range(2)
    )
    known, total = sum(label >= 0 for label in labels), 0.0
    for head in (image.tolist(), text.tolist()):
        for logits, label in zip(head, labels, strict=True):
            if label >= 0:
                total -= math.log(math.exp(logits[label]) / sum(map(math.exp, logits))) / known
    assert float(
        classification(Outputs.image_text(image, text), torch.tensor(labels), task=GRADES)
    ) == pytest.approx(total, rel=1e-9)


def test_the_first_step_has_the_objective_of_the_formula(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    done = unlearn(NegGradPlus(alpha=0.7, epochs=1), batch_size=1000)
    retained, forgotten = (
        next(Loader(small.prepared.records, rows, batch_size=1000, seed=5).epoch(0))
        for rows in (small.partition.retain, small.partition.forget)
    )
    with torch.no_grad():
        retain = float(base_loss(memorised(retained), retained, task=GRADES).total)
        forget = float(classification(memorised(forgotten), forgotten.label, task=GRADES))
    assert done.trace.epochs == (
        {
            "retain": pytest.approx(0.7 * retain, rel=1e-5),
            "forget": pytest.approx(-0.3 * forget, rel=1e-5),
        },
    )


def test_an_epoch_is_one_pass_over_the_retained_with_forget_batches_cycled(
    small: Any, unlearn: Any
) -> None:
    trace = unlearn(NegGradPlus(epochs=1), batch_size=8).trace
    retained, forgotten = len(small.partition.retain), len(small.partition.forget)
    steps = math.ceil(retained / 8)
    each = [min(8, forgotten - start) for start in range(0, forgotten, 8)]
    assert trace.steps == steps
    assert trace.samples == {
        "retain": retained,
        "forget": sum(each[i % len(each)] for i in range(steps)),
    }


def test_each_pass_over_the_forgotten_is_shuffled_anew(
    small: Any, unlearn: Any, monkeypatch: Any
) -> None:
    passes: list[int] = []
    epoch = Loader.epoch

    def spy(self: Loader, number: int, **more: Any) -> Any:
        if len(self.rows) == len(small.partition.forget):
            passes.append(number)
        return epoch(self, number, **more)

    monkeypatch.setattr(Loader, "epoch", spy)
    unlearn(NegGradPlus(epochs=2))
    assert len(passes) == len(set(passes)) > 2


def test_forgotten_losses_rise_and_a_zero_weight_skips_the_set(small: Any, unlearn: Any) -> None:
    trace = unlearn(NegGradPlus(alpha=0.5, epochs=3, lr=1e-3)).trace
    assert trace.epochs[-1]["forget"] < trace.epochs[0]["forget"] < 0
    assert unlearn(NegGradPlus(alpha=1.0, epochs=1)).trace.samples["forget"] == 0
    assert set(unlearn(NegGradPlus(alpha=0.0, epochs=1)).trace.epochs[0]) == {"forget"}
