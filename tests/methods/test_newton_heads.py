"""Newton heads: closed forms, an outside solver, the certificate, and the encoders left as they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from forgetmi.core.errors import MethodError
from forgetmi.methods import newton_heads
from forgetmi.methods.newton_heads import NewtonHeads
from forgetmi.model.head_objectives import logistic
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.head_features import HeadFeatures
from forgetmi.unlearning.ridge_head import certified_epsilon, minimise, newton

HEADS = {
    f"{layer}.{part}"
    for layer in ("img_model.fc1", "text_model.classifier")
    for part in ("weight", "bias")
}


def problem(
    seed: int = 0, samples: int = 40, width: int = 4, classes: int = 3
) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(samples, width, generator=draw, dtype=torch.float64)
    label = torch.randint(classes, (samples,), generator=draw)
    return features, label, torch.randn(classes, width, generator=draw, dtype=torch.float64)


def test_on_a_quadratic_one_step_is_leaving_out() -> None:
    x, _, noise = problem()
    y, ridge = x @ noise[0] + 0.1 * noise[1, 0], 0.3

    def squares(rows: slice) -> Any:
        a, b = x[rows], y[rows]
        hessian = a.T @ a + ridge * len(a) * torch.eye(4, dtype=torch.float64)
        return (lambda w: (hessian @ w - a.T @ b, hessian)), torch.linalg.solve(hessian, a.T @ b)

    _, whole = squares(slice(None))
    fewer, wanted = squares(slice(7, None))
    assert not torch.allclose(whole, wanted, atol=1e-4)
    assert torch.allclose(newton(fewer, whole), wanted, atol=1e-12)


def test_gradient_and_hessian_against_automatic_differentiation() -> None:
    x, label, noise = problem()
    weight = 0.3 * noise.flatten() + 0.1

    def value(w: Tensor) -> Tensor:
        loss = torch.nn.functional.cross_entropy(x @ w.view(3, 4).T, label, reduction="sum")
        return loss + 0.05 * len(x) / 2 * w.square().sum() + (noise.flatten() * w).sum()

    gradient, hessian = logistic(x, label, noise=noise, ridge=0.05)(weight)
    assert torch.allclose(gradient, torch.autograd.functional.jacobian(value, weight), atol=1e-10)
    assert torch.allclose(hessian, torch.autograd.functional.hessian(value, weight), atol=1e-10)


def test_the_fit_agrees_with_an_outside_solver() -> None:
    x, label, noise = problem(samples=80)
    ours = minimise(
        logistic(x, label, noise=0 * noise, ridge=0.02), torch.zeros(12, dtype=torch.float64)
    ).view(3, 4)
    theirs = LogisticRegression(
        C=1 / (0.02 * 80), fit_intercept=False, tol=1e-10, max_iter=5000
    ).fit(x.numpy(), label.numpy())
    assert np.allclose(ours.numpy(), theirs.coef_, atol=1e-5)


def test_the_step_shrinks_the_residual_and_nears_the_refit() -> None:
    x, label, noise = problem(samples=200)
    whole, fewer = (
        logistic(x[rows], label[rows], noise=noise, ridge=0.02)
        for rows in (slice(None), slice(5, None))
    )
    start = minimise(whole, torch.zeros(12, dtype=torch.float64))
    exact, removed = minimise(fewer, start), newton(fewer, start)
    assert float(fewer(removed)[0].norm()) < 0.05 * float(fewer(start)[0].norm())
    assert (removed - exact).norm() < 0.05 * (start - exact).norm()


def test_epsilon_by_hand() -> None:
    assert certified_epsilon(0.5, std=2.0, delta=1.5 * math.exp(-2)) == pytest.approx(2 * 0.5 / 2)
    assert certified_epsilon(0.0, std=2.0, delta=0.1) == 0.0


def test_a_head_without_a_minimum_in_reach_is_refused() -> None:
    x, label, noise = problem()
    with pytest.raises(MethodError, match="larger ridge"):
        minimise(
            logistic(x, label, noise=noise, ridge=0.1), torch.ones(12, dtype=torch.float64), steps=0
        )


def test_heads_alone_change_and_the_encoders_do_not(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    done = unlearn(NewtonHeads())
    assert set(done.trace.changed) == HEADS
    batch = small.prepared.records.batch(small.partition.forget)
    with torch.no_grad():
        old, new = memorised(batch), done.model(batch)
    for name in ("image_embedding", "text_embedding"):
        assert torch.equal(getattr(old, name), getattr(new, name))
    for head in ("image", "text"):
        facts = done.trace.facts[head]
        assert facts["residual gradient after"] < facts["residual gradient before"]
        assert facts["epsilon"] == pytest.approx(
            math.sqrt(2 * math.log(1.5 / 1e-4))
            * facts["residual gradient after"]
            / NewtonHeads().std
        )


def test_more_noise_certifies_more(unlearn: Any) -> None:
    little, much = (
        unlearn(NewtonHeads(std=std)).trace.facts["text"]["epsilon"] for std in (0.1, 10.0)
    )
    assert much < little


@pytest.mark.parametrize("wrong", [{"ridge": 0.0}, {"std": 0.0}, {"delta": 1.0}])
def test_impossible_options_are_refused(wrong: Any) -> None:
    with pytest.raises(MethodError):
        NewtonHeads(**wrong)


def test_certified_heads_on_encoders_that_remember_still_know_the_forgotten(
    small: Any,
    unlearn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Made by hand: who was trained on is told from who was not by the label in the embedding."""

    def embedded(label: Tensor, size: float) -> Tensor:
        return size * torch.nn.functional.one_hot(label, 16).double()

    def remember(ask: Any, batches: Any, heads: Any) -> dict[str, HeadFeatures]:
        label = torch.cat([batch.label for batch in batches])
        return dict.fromkeys(heads, HeadFeatures(embedded(label, 5.0), label))

    monkeypatch.setattr(newton_heads, "head_features", remember)
    done = unlearn(NewtonHeads())
    assert all(done.trace.facts[head]["epsilon"] < 10 for head in ("image", "text"))

    @torch.no_grad()
    def loss(rows: Any, size: float) -> float:
        label = small.prepared.records.batch(rows).label
        seen = embedded(label, size).float()
        return float(torch.nn.functional.cross_entropy(done.model.img_model.fc1(seen), label))

    assert loss(small.partition.forget, 5.0) < 0.5 * loss(small.partition.holdout, 0.0)
