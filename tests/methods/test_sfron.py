"""SFRon: the weights of its climb, what the climb moves, and fine-tuning as its limit."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from forgetmi.core.errors import MethodError
from forgetmi.methods.fine_tune import FineTune
from forgetmi.methods.sfron import SFRon, adaptive, weights
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.importance import squared_gradients
from tests.unlearning.reading import loaders


@pytest.mark.parametrize("bn", ["eval", "train"])
def test_without_the_climb_it_is_fine_tuning(unlearn: Any, bn: Literal["eval", "train"]) -> None:
    still, plain = (
        unlearn(method)
        for method in (
            SFRon(alpha=0.0, epochs=1, lr=1e-3, bn=bn),
            FineTune(epochs=1, lr=1e-3, bn=bn),
        )
    )
    assert parameter_digest(still.model) == parameter_digest(plain.model)
    assert still.trace.samples == {"forget": 0, **plain.trace.samples}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=8), st.floats(0, 2))
def test_weights_add_up_to_the_number_of_samples_and_fall_with_the_loss(
    losses: list[float], power: float
) -> None:
    found = weights(torch.tensor(losses, dtype=torch.float64), power=power)
    assert float(found.sum()) == pytest.approx(len(losses))
    order = sorted(range(len(losses)), key=lambda i: losses[i])
    assert all(found[a] >= found[b] - 1e-9 for a, b in itertools.pairwise(order))


def test_the_adaptive_loss_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0], [7.0, 0.0]])
    first, second = math.log(4 / 3), math.log(2)
    w = [first**-0.5, second**-0.5]
    expected = (w[0] * first + w[1] * second) / sum(w)
    label = torch.tensor([0, 1, -1])
    assert float(adaptive(logits, label, power=0.5, task=GRADES)) == pytest.approx(
        expected, rel=1e-5
    )
    assert float(adaptive(logits, label, power=0.0, task=GRADES)) == pytest.approx(
        (first + second) / 2, rel=1e-5
    )
    assert float(adaptive(logits, torch.full((3,), -1), power=0.5, task=GRADES)) == 0.0


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.integers(-1, 1), min_size=1, max_size=6),
    st.integers(2, 5),
    st.floats(0, 2),
)
def test_the_adaptive_loss_against_a_loop(
    seed: int, labels: list[int], classes: int, power: float
) -> None:
    logits = 2 * torch.randn(
        len(labels), classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    each = [
        -math.log(math.exp(row[label]) / sum(map(math.exp, row)))
        for row, label in zip(logits.tolist(), labels, strict=True)
        if label >= 0
    ]
    slow = (
        sum(one ** (1 - power) for one in each) / sum(one**-power for one in each) if each else 0.0
    )
    assert float(adaptive(logits, torch.tensor(labels), power=power, task=GRADES)) == pytest.approx(
        slow, rel=1e-9
    )


def test_weights_carry_no_gradient_and_certain_samples_no_infinity() -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 1.0]], requires_grad=True)
    adaptive(logits, torch.tensor([0, 0]), power=0.5, task=GRADES).backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_a_climb_moves_only_the_mask_and_raises_the_loss_of_the_forgotten(
    small: Any,
    memorised: ImageText,
    unlearn: Any,
) -> None:
    """All retained samples in one batch of rate 0: an epoch is one climb alone."""
    done = unlearn(SFRon(epochs=1, lr=0.0, weight_decay=0.0, ratio=2.0), batch_size=1000)
    assert done.trace.steps == 2
    sets = loaders(small, "labels", batch_size=1000)
    forget, retain = (
        squared_gradients(memorised, one, each="batch", task=GRADES)[0]
        for one in (sets.forget, sets.retain)
    )
    old, new, moved = memorised.state_dict(), done.model.state_dict(), 0
    for name in forget:
        mask = forget[name] >= 2 * retain[name]
        assert torch.equal(old[name][~mask], new[name][~mask]), name
        moved += int((old[name] != new[name]).sum())
    assert moved > 0
    assert set(done.trace.changed) <= set(forget)
    batch = small.prepared.records.batch(small.partition.forget)
    with torch.no_grad():
        before, after = (
            nn.functional.cross_entropy(model(batch).image_logits, batch.label)
            for model in (memorised, done.model)
        )
    assert after > before


@pytest.mark.parametrize("every", [1, 3])
def test_there_is_a_climb_before_each_so_many_steps(small: Any, unlearn: Any, every: int) -> None:
    trace = unlearn(SFRon(epochs=1, every=every), batch_size=8).trace
    steps = math.ceil(len(small.partition.retain) / 8)
    assert trace.steps == steps + math.ceil(steps / every)
    assert trace.samples["forget"] > len(small.partition.forget)


@pytest.mark.parametrize(
    "options", [{"alpha": -1.0}, {"adapt": -1.0}, {"every": 0}, {"ratio": -1.0}]
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(MethodError):
        SFRon(**options)
