"""Gradient ascent: the exact step, the loss that rises, the rule that stops it."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

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
    for epochs in (1, 2, 3, 4):
        done = unlearn(NegGrad(epochs=epochs, lr=1e-5, stop="never"), batch_size=1000)
        losses.append(float(loss(small, done.model).detach()))
    assert all(low < high for low, high in pairwise(losses))


def test_it_stops_at_the_first_step_that_reaches_the_target(small: Any, unlearn: Any) -> None:
    method = NegGrad(epochs=60, lr=1e-3)
    facts, steps = (done := unlearn(method, batch_size=1000)).trace.facts, done.trace.steps
    assert facts["stopped"]
    assert facts["reached"] >= facts["target cross-entropy"]
    assert 1 < steps < 60
    before = unlearn(replace(method, epochs=steps - 1), batch_size=1000).trace.facts
    assert not before["stopped"]
    assert before["reached"] < before["target cross-entropy"] == facts["target cross-entropy"]


def test_it_stops_within_an_epoch(unlearn: Any) -> None:
    done = unlearn(NegGrad(epochs=60, lr=1e-3), batch_size=3)
    assert done.trace.facts["stopped"]
    assert len(done.trace.epochs) < 60
    free = unlearn(NegGrad(epochs=len(done.trace.epochs), lr=1e-3, stop="never"), batch_size=3)
    assert done.trace.steps <= free.trace.steps


def test_without_the_rule_validation_is_not_read(unlearn: Any) -> None:
    assert unlearn(NegGrad(epochs=1, stop="never")).trace.samples["validation"] == 0
