"""LoTUS: its draws at the limits of temperature, and when it ends."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from forgetmi.core.batch import Outputs
from forgetmi.methods.lotus import LoTUS, mean_accuracy
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.tasks.classes import CLASSES
from forgetmi.unlearning.gumbel import gumbel, noisy
from forgetmi.unlearning.losses import head_distillation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gumbel_noise_has_its_mean_and_variance() -> None:
    drawn = gumbel(torch.Size((200_000,)), generator())
    assert float(drawn.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(drawn.var()) == pytest.approx(math.pi**2 / 6, abs=0.03)


def test_hard_draws_come_as_often_as_a_class_is_probable() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0]]).repeat(40_000, 1)
    drawn = noisy(Outputs({"image": logits}), temperature=0.0, generator=generator())
    shares = drawn.head("image").softmax(1).mean(0)
    assert torch.allclose(shares, logits[0].softmax(0), atol=0.01)


def test_the_limits_of_the_temperature() -> None:
    """Very hot: every class alike. Near 0: one class, the same as the hard draw."""
    outputs = Outputs({"image": torch.randn(50, 4, generator=generator(1))})
    hot = noisy(outputs, temperature=1e6, generator=generator()).head("image").softmax(1)
    assert torch.allclose(hot, torch.full_like(hot, 0.25), atol=1e-4)
    cold = noisy(outputs, temperature=1e-4, generator=generator()).head("image").softmax(1)
    hard = noisy(outputs, temperature=0.0, generator=generator()).head("image").softmax(1)
    assert torch.allclose(cold, hard, atol=1e-3)
    assert set(hard.unique().tolist()) == {0.0, 1.0}


def test_a_hard_target_gives_the_cross_entropy_of_its_class() -> None:
    student = Outputs({"image": torch.randn(6, 4, generator=generator(2))})
    hard = noisy(student, temperature=0.0, generator=generator())
    classes = hard.head("image").argmax(1)
    expected = torch.nn.functional.cross_entropy(student.head("image"), classes)
    assert float(head_distillation(student, hard, task=CLASSES)) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_it_ends_where_the_forgotten_are_no_better_than_the_unseen(
    unlearn: Any, memorised: ImageText, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, where they are worse already: nothing is changed then."""
    monkeypatch.setattr("forgetmi.methods.lotus.accuracy_goal", lambda *given, **more: 1.0)
    monkeypatch.setattr("forgetmi.methods.lotus.mean_accuracy", lambda *given, **more: 0.9)
    assert parameter_digest(unlearn(LoTUS(epochs=2)).model) == parameter_digest(memorised)

    # And goes on within the tolerance.
    monkeypatch.setattr("forgetmi.methods.lotus.mean_accuracy", lambda *given, **more: 0.995)
    done = unlearn(LoTUS(epochs=2))
    assert len(done.trace.epochs) == 2
    assert done.trace.epochs[0]["temperature"] == pytest.approx(math.exp(2 * -0.005))


def test_accuracy_is_that_of_all_heads(small: Any, memorised: ImageText) -> None:
    from forgetmi.unlearning.loaders import GuardedLoaders

    rows = small.partition.forget
    loaders = GuardedLoaders(
        small.prepared.records,
        {"forget": rows},  # type: ignore[dict-item]
        patient=small.partition.patient,
        reads=frozenset({"forget", "labels"}),
        batch_size=8,
        seed=0,
    )
    outputs = memorised(small.prepared.records.batch(rows))
    label = torch.tensor(small.cohort.label[rows])
    right = [
        float((outputs.head(head).argmax(1) == label).double().mean()) for head in ("image", "text")
    ]
    assert mean_accuracy(memorised, loaders.forget, task=CLASSES) == pytest.approx(sum(right) / 2)


def test_a_share_of_the_retained_is_read_each_epoch(
    small: Any, unlearn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forgetmi.methods.lotus.accuracy_goal", lambda *given, **more: 0.0)
    trace = unlearn(LoTUS(epochs=2, fraction=0.5)).trace
    assert trace.samples["retain"] == 2 * round(0.5 * len(small.partition.retain))
    # Once each epoch for the stop rule, once to be learnt from
    assert trace.samples["forget"] == 4 * len(small.partition.forget)
