"""The training half of values: closed forms, and what an unknown value must not do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.labels import AS_IT_IS, Scale
from forgetmi.model.tasks.value import VALUE

UNKNOWN = math.nan
LOGITS = torch.tensor([[0.5], [3.0], [-1.0]])
LABEL = torch.tensor([1.5, UNKNOWN, -1.0])


def test_losses_are_squares_and_unknown_values_take_no_part() -> None:
    assert VALUE.loss(LOGITS, LABEL).tolist() == [1.0, 0.0, 0.0]
    assert float(VALUE.mean_loss(LOGITS, LABEL)) == 0.5
    assert float(VALUE.mean_loss(LOGITS, torch.full((3,), UNKNOWN))) == 0
    assert VALUE.error(LOGITS, LABEL).tolist() == [1.0, 0.0, 0.0]
    assert VALUE.outputs(0) == VALUE.outputs(1) == 1

    leaf = LOGITS.clone().requires_grad_()
    VALUE.mean_loss(leaf, LABEL).backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [[-1.0], [0.0], [0.0]]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_distance_is_the_divergence_of_two_normal_distributions(temperature: float) -> None:
    one = torch.distributions.Normal(LOGITS / temperature, 1.0)
    other = torch.distributions.Normal(LOGITS.flip(0) / temperature, 1.0)
    slow = temperature**2 * torch.distributions.kl_divergence(other, one).mean()
    found = VALUE.distance(LOGITS, LOGITS.flip(0), temperature=temperature)
    assert float(found) == pytest.approx(float(slow), rel=1e-6)


def test_margins_groups_and_order() -> None:
    assert VALUE.margin(LABEL, torch.tensor([0.0, 1.0, -1.1])).tolist() == [1.5, 0.5, 0.5]
    values = torch.tensor([-9.0, -1.0, -0.1, 0.0, 0.9, 1.0, 9.0, UNKNOWN])
    assert VALUE.groups(values).tolist() == [0, 1, 1, 2, 2, 3, 3, -1]

    # One of three pairs is in the wrong order
    logits = torch.tensor([[1.0], [3.0], [2.0]])
    assert VALUE.auc(logits, torch.tensor([0.0, 1.0, 2.0])) == pytest.approx(2 / 3)
    assert VALUE.auc(logits, torch.tensor([1.0, 1.0, 1.0])) is None


def test_the_mean_prediction_is_the_mean() -> None:
    assert VALUE.mean_prediction([LOGITS, LOGITS + 2]).tolist() == (LOGITS + 1).tolist()


@pytest.mark.parametrize("rule", ["other", "any", "neighbour"])
def test_wrong_values(rule: Any) -> None:
    drawn = [
        VALUE.other(0.25, 1, rule=rule, generator=np.random.default_rng(seed))
        for seed in range(200)
    ]
    if rule == "neighbour":
        assert set(drawn) == {-0.75, 1.25}
    else:
        assert abs(np.mean(drawn)) < 0.25
        assert 0.8 < np.std(drawn) < 1.2
    assert math.isnan(VALUE.other(UNKNOWN, 1, rule=rule, generator=np.random.default_rng(0)))


def test_the_convex_head_is_ridge_regression() -> None:
    torch.manual_seed(0)
    features, label = torch.randn(9, 4).double(), torch.randn(9)
    noise = torch.randn(1, 4).double()
    gradient, hessian = VALUE.convex(features, label, noise=noise, ridge=0.1)(
        torch.zeros(4).double()
    )
    found = -torch.linalg.solve(hessian, gradient)

    # Normal equations of the squared error, the ridge and the linear term
    left = 2 * features.T @ features + 0.1 * 9 * torch.eye(4).double()
    slow = torch.linalg.solve(left, 2 * features.T @ label.double() - noise[0])
    assert torch.allclose(found, slow)


def test_what_needs_states_is_refused() -> None:
    with pytest.raises(MethodError, match="does not apply to labels that are a value"):
        VALUE.space(nn.Linear(3, 1))
    with pytest.raises(MethodError, match="does not apply to labels that are a value"):
        VALUE.distance_without_truth(LOGITS, LOGITS, LABEL, truth=0.0)


def test_the_scale_of_values_goes_there_and_back() -> None:
    label = np.array([10.0, np.nan, 14.0, 18.0], np.float32)
    scale = Scale.fitted(label)
    standard = scale.standard(label)
    assert np.nanmean(standard) == pytest.approx(0, abs=1e-6)
    assert np.nanstd(standard) == pytest.approx(1)
    np.testing.assert_allclose(scale.units(standard), label, rtol=1e-6)

    # What has no scale stays as it is, to the last bit and in its type
    classes = np.array([0, 3, -1])
    assert AS_IT_IS.standard(classes) is classes
    assert Scale.fitted(np.array([2.0, 2.0, np.nan])) == AS_IT_IS
    with pytest.raises(SpecError, match="standard deviation"):
        Scale(0.0, 0.0)
