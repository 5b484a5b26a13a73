"""Squared and summed gradients against one backward pass a sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from forgetmi.core.errors import MethodError
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.importance import encoder_parameters, squared_gradients, summed_gradient
from tests.unlearning.reading import loaders


def slow(model: ImageText, small: Any, rows: Any) -> list[dict[str, Tensor]]:
    """Each sample's gradient, by ``backward`` on a model of its own."""
    parameters, found = dict(model.named_parameters()), []
    for row in rows:
        batch = small.prepared.records.batch(rows[rows == row])
        model.zero_grad()
        out = model(batch)
        (
            nn.functional.cross_entropy(out.image_logits, batch.label)
            + nn.functional.cross_entropy(out.text_logits, batch.label)
        ).backward()
        found.append(
            {
                name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
                for name, p in parameters.items()
            }
        )
    model.zero_grad()
    return found


def test_of_single_samples_and_their_sum(small: Any, memorised: ImageText) -> None:
    forget = loaders(small, "labels").forget
    gradients = slow(memorised, small, forget.rows)
    squares, count = squared_gradients(memorised, forget, each="sample", task=GRADES)
    total = summed_gradient(memorised, forget.batches(forget.rows), task=GRADES)
    assert count == len(forget.rows)
    assert set(squares) == set(total) == set(encoder_parameters(memorised))
    for name in squares:
        expected = torch.stack([one[name] for one in gradients])
        assert torch.allclose(squares[name], expected.square().mean(dim=0), rtol=1e-3, atol=1e-7), (
            name
        )
        assert torch.allclose(total[name], expected.sum(dim=0), rtol=1e-3, atol=1e-4), name
        assert bool((squares[name] >= 0).all())


def test_of_batches_is_the_square_of_the_mean(small: Any, memorised: ImageText) -> None:
    forget = loaders(small, "labels", batch_size=1000).forget
    squares, count = squared_gradients(memorised, forget, each="batch", task=GRADES)
    total = summed_gradient(memorised, forget.batches(forget.rows), task=GRADES)
    assert count == 1
    for name in squares:
        assert torch.allclose(
            squares[name], (total[name] / len(forget.rows)).square(), rtol=1e-3, atol=1e-7
        ), name


def test_batches_of_one_are_single_samples(small: Any, memorised: ImageText) -> None:
    forget = loaders(small, "labels", batch_size=1).forget
    one, other = (
        squared_gradients(memorised, forget, each=each, task=GRADES)[0]
        for each in ("batch", "sample")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_model_is_left_alone(small: Any, memorised: ImageText) -> None:
    memorised.zero_grad()
    before = parameter_digest(memorised)
    squared_gradients(memorised.train(), loaders(small, "labels").forget, each="batch", task=GRADES)
    assert memorised.training
    assert parameter_digest(memorised.eval()) == before
    assert all(p.grad is None for p in memorised.parameters())


def test_sets_without_labels_are_refused(small: Any, memorised: ImageText) -> None:
    forget = loaders(small).forget
    with pytest.raises(MethodError, match="no sample of a set has a label"):
        squared_gradients(memorised, forget, each="sample", task=GRADES)
    with pytest.raises(MethodError, match="no sample of a set has a label"):
        summed_gradient(memorised, forget.epoch(0), task=GRADES)
