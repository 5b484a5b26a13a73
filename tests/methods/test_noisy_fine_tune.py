"""Noisy fine-tune: a slow oracle without noise, the noise's variance, and what it proves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from forgetmi.core.errors import MethodError
from forgetmi.methods.noisy_fine_tune import NoisyFineTune, clipped
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.gaussian_certificate import Certificate, delta_at, epsilon_at


def test_without_noise_it_is_clipped_gradient_descent(
    small: Any, unlearn: Any, memorised: ImageText
) -> None:
    """Sample by sample, head by head, with gradients by hand."""
    method = NoisyFineTune(c0=0.8, c1=0.3, lr=0.5, noise=False, repair_steps=0)
    ours = unlearn(method).model

    # Embeddings and labels of the retained
    records, rows = small.prepared.records, small.partition.retain
    with torch.no_grad():
        outputs = memorised.eval()(records.batch(rows))
    label = [int(value) for value in small.cohort.label[rows]]
    there = [number for number, value in enumerate(label) if value >= 0]

    weights: dict[str, Any] = {}
    for head, layer in memorised.heads.items():
        joined = torch.cat([layer.weight, layer.bias[:, None]], dim=1)
        weights[head] = joined.detach().double()

    def norm(parts: dict[str, Any]) -> float:
        return math.sqrt(sum(float(part.square().sum()) for part in parts.values()))

    scale = min(1.0, 0.8 / norm(weights))
    weights = {head: scale * part for head, part in weights.items()}
    for _ in range(math.ceil(0.8 / (0.3 * 0.5))):
        gradient = {head: torch.zeros_like(part) for head, part in weights.items()}
        for head, part in weights.items():
            for number in there:
                x = torch.cat([outputs.embedding[head][number].double(), torch.ones(1)])
                p = (part @ x).softmax(0)
                p[label[number]] -= 1
                gradient[head] += torch.outer(p, x) / len(there)
        shrink = min(1.0, 0.3 / norm(gradient))
        weights = {head: part - 0.5 * shrink * gradient[head] for head, part in weights.items()}

    for head, layer in ours.heads.items():
        found = torch.cat([layer.weight, layer.bias[:, None]], dim=1).double()
        assert torch.allclose(found, weights[head], atol=1e-4)


@pytest.mark.parametrize(("c0", "c1", "lr", "eps"), [(1.0, 1.0, 0.01, 1.0), (3.0, 0.7, 0.1, 0.2)])
def test_the_noise_s_variance_is_the_formula_s(c0: float, c1: float, lr: float, eps: float) -> None:
    certificate = Certificate(516, c0, c1, lr, eps)
    steps = math.ceil(c0 / (c1 * lr))
    assert certificate.steps == steps
    expected = (2 * c0 + 2 * c1 * lr * steps) ** 2 / (4 * eps * steps)
    assert certificate.variance == pytest.approx(expected)


def test_what_it_costs_is_45_c0_for_516_weights_at_eps_1() -> None:
    certificate = Certificate(516, 1.0, 1.0, 0.01, 1.0)
    assert certificate.noise_norm == pytest.approx(2 * math.sqrt(516))
    assert certificate.noise_norm == pytest.approx(45, abs=0.5)
    assert certificate.mu == pytest.approx(2.0)


def test_the_noise_that_is_added_has_that_variance(unlearn: Any, memorised: ImageText) -> None:
    """With tiny gradients and weights the result is the sum of the noise."""
    method = NoisyFineTune(c0=1e-6, c1=1e-6, lr=0.01, eps=1e-12, repair_steps=0)
    heads = unlearn(method).model.heads
    found = torch.cat(
        [value.detach().reshape(-1) for h in heads.values() for value in h.parameters()]
    )
    expected = Certificate(len(found), 1e-6, 1e-6, 0.01, 1e-12)
    # A chi-square variable: six standard deviations
    spread = 6 * math.sqrt(2 / len(found))
    ratio = float(found.square().mean()) / (expected.steps * expected.variance)
    assert ratio == pytest.approx(1.0, abs=spread)


def test_epsilon_at_delta_by_numerical_integration() -> None:
    """Delta = the integral of max(0, p - e^epsilon q) over two normal densities, mu apart."""
    mu = 1.3
    epsilon = epsilon_at(mu, 1e-3)
    x = torch.linspace(-12, 14, 200_001, dtype=torch.float64)
    p = (-((x - mu) ** 2) / 2).exp() / math.sqrt(2 * math.pi)
    q = (-(x**2) / 2).exp() / math.sqrt(2 * math.pi)
    delta = float(torch.trapezoid((p - math.exp(epsilon) * q).clamp(min=0), x))
    assert delta == pytest.approx(1e-3, rel=1e-3)
    assert delta_at(mu, epsilon) == pytest.approx(1e-3, rel=1e-6)
    assert epsilon_at(0.0, 1e-5) == 0.0


def test_the_encoders_stay_and_the_trace_says_what_is_certified(unlearn: Any) -> None:
    trace = unlearn(NoisyFineTune(repair_steps=3)).trace
    assert all("fc1" in name or "classifier" in name for name in trace.changed)
    facts = trace.facts
    assert facts["certified"] == "the heads alone"
    assert facts["noisy steps"] == 100
    assert facts["norm of all noise"] == pytest.approx(2 * math.sqrt(facts["weights d"]))
    assert facts["epsilon at delta"] == pytest.approx(epsilon_at(2.0, 1e-5))
    assert trace.samples["retain"] > 0
    assert set(trace.samples) == {"retain"}
    bare = unlearn(NoisyFineTune(noise=False, repair_steps=0)).trace.facts
    assert bare["certified"] == "nothing"
    assert "epsilon at delta" not in bare


def test_repair_lowers_the_loss_on_the_retained(small: Any, unlearn: Any) -> None:
    rows = small.partition.retain
    batch = small.prepared.records.batch(rows)
    losses: list[float] = []
    for steps in (0, 300):
        model = unlearn(NoisyFineTune(repair_steps=steps)).model
        with torch.no_grad():
            logits = model(batch).image_logits
        losses.append(float(nn.functional.cross_entropy(logits, batch.label, ignore_index=-1)))
    assert losses[1] < losses[0]


def test_clipping_shortens_long_vectors_alone() -> None:
    vector = torch.tensor([3.0, 4.0])
    assert float(clipped(vector, 1.0).norm()) == pytest.approx(1.0)
    assert torch.equal(clipped(vector, 6.0), vector)


def test_an_impossible_delta_is_refused() -> None:
    with pytest.raises(MethodError, match="delta"):
        NoisyFineTune(delta=1.0)
