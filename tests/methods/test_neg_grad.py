"""Gradient ascent: the exact step, the loss that rises, the rule that stops it."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from forgetmi.core.batch import Batch
from forgetmi.data.loaders import Loader
from forgetmi.methods import neg_grad
from forgetmi.methods.neg_grad import NegGrad
from forgetmi.model.image_text import ImageText


def loss(small: Any, model: ImageText) -> torch.Tensor:
    """Cross-entropy of both heads on the forgotten, one batch in the order of epoch 0."""
    batch = next(
        Loader(small.prepared.records, small.partition.forget, batch_size=1000, seed=5).epoch(0)
    )
    out = model(batch)
    return sum(
        (
            torch.nn.functional.cross_entropy(logits, batch.label)
            for logits in (out.image_logits, out.text_logits)
        ),
        torch.zeros(()),
    )


def test_a_step_adds_the_gradient(
    small: Any,
    memorised: ImageText,
    unlearn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        neg_grad,
        "adamw",
        lambda model, lr, weight_decay: torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=lr
        ),
    )
    done = unlearn(NegGrad(epochs=1, lr=0.01, clip=0.0, stop="never"), batch_size=1000)
    assert done.trace.steps == 1
    reference = copy.deepcopy(memorised).eval()
    loss(small, reference).backward()
    for (name, now), old in zip(done.model.named_parameters(), reference.parameters(), strict=True):
        expected = old if old.grad is None else old + 0.01 * old.grad
        assert torch.allclose(now, expected, rtol=1e-6, atol=1e-9), name
    assert done.trace.epochs[0]["forget"] == pytest.approx(
        -float(loss(small, memorised).detach()), rel=1e-6
    )


def test_the_loss_on_the_forgotten_rises_step_by_step(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    losses = [float(loss(small, memorised).detach())]
    for epochs in (1, 2, 3):
        done = unlearn(NegGrad(epochs=epochs, lr=1e-5, stop="never"), batch_size=1000)
        losses.append(float(loss(small, done.model).detach()))
    assert all(low < high for low, high in pairwise(losses))


def mean_cross_entropy(model: ImageText, batch: Batch) -> float:
    """Of the image head, as the rule reads it."""
    with torch.no_grad():
        return float(
            torch.nn.functional.cross_entropy(model(batch).image_logits.double(), batch.label)
        )


def test_it_stops_at_the_first_step_that_reaches_the_target(
    small: Any,
    unlearn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Targets halfway between what two numbers of steps reach: far from both, whatever the way there is."""
    forgotten, steps, lr = small.prepared.records.batch(small.partition.forget), 4, 1e-4
    way = [
        mean_cross_entropy(
            unlearn(NegGrad(epochs=count, lr=lr, stop="never"), batch_size=1000).model, forgotten
        )
        for count in range(1, steps + 1)
    ]
    assert len(set(way)) == steps
    for low, high in pairwise(sorted(way)):
        target = (low + high) / 2
        first = next(count for count, value in enumerate(way, start=1) if value >= target)
        with monkeypatch.context() as patch:
            patch.setattr(neg_grad, "matched_mean", lambda *given, target=target: target)
            done = unlearn(NegGrad(epochs=steps, lr=lr), batch_size=1000).trace
        assert done.steps == first
        assert done.facts == {
            "target cross-entropy": target,
            "stopped": True,
            "reached": pytest.approx(way[first - 1], rel=1e-4),
        }


def test_a_target_that_is_not_reached_stops_nothing(
    unlearn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neg_grad, "matched_mean", lambda *given: math.inf)
    done = unlearn(NegGrad(epochs=3), batch_size=1000).trace
    assert done.steps == 3
    assert done.facts["stopped"] is False


def test_it_stops_within_an_epoch(
    small: Any, unlearn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that every model has reached: one step is taken all the same, and no more of the epoch's."""
    monkeypatch.setattr(neg_grad, "matched_mean", lambda *given: 0.0)
    done = unlearn(NegGrad(epochs=2), batch_size=3).trace
    assert done.facts["stopped"]
    assert done.steps == len(done.epochs) == 1 < len(small.partition.forget) / 3


def test_the_target_is_the_originals_loss_on_validation_patients_of_the_same_labels(
    small: Any,
    memorised: ImageText,
    unlearn: Any,
) -> None:
    forgotten, unseen = (
        small.prepared.records.batch(rows)
        for rows in (small.partition.forget, small.partition.validation)
    )
    with torch.no_grad():
        each = torch.nn.functional.cross_entropy(
            memorised(unseen).image_logits.double(), unseen.label, reduction="none"
        )
    of_class = {k: float(each[unseen.label == k].mean()) for k in unseen.label.unique().tolist()}
    wanted = [of_class[k] for k in forgotten.label.tolist() if k in of_class]
    assert wanted
    facts = unlearn(NegGrad(epochs=1)).trace.facts
    assert facts["target cross-entropy"] == pytest.approx(sum(wanted) / len(wanted), rel=1e-4)


def test_without_the_rule_validation_is_not_read(unlearn: Any) -> None:
    assert unlearn(NegGrad(epochs=1, stop="never")).trace.samples["validation"] == 0
