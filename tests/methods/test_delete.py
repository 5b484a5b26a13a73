"""DELETE: its target and divergence in closed form, and where it ends."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.errors import MethodError
from forgetmi.methods.delete import Delete
from forgetmi.model.class_losses import divergence_without_truth as divergence
from forgetmi.model.class_losses import without_truth


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 5), st.floats(0, 0.99))
def test_the_target_has_no_truth_and_keeps_all_other_ratios(
    seed: int, classes: int, truth: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(6, classes, generator=draw, dtype=torch.float64)
    label = torch.randint(classes, (6,), generator=draw)
    plain, soft = without_truth(logits, label), without_truth(logits, label, truth=truth)
    rest = torch.nn.functional.one_hot(label, classes) == 0
    assert bool((plain[~rest] == 0).all())
    assert torch.allclose(soft[~rest], torch.full((6,), truth, dtype=torch.float64))
    for target in (plain, soft):
        assert torch.allclose(target.sum(1), torch.ones(6, dtype=torch.float64))
        p = logits.softmax(1) * rest
        assert torch.allclose(
            target * rest / (target * rest).sum(1, keepdim=True), p / p.sum(1, keepdim=True)
        )


def test_divergence_by_hand() -> None:
    teacher = torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.0, 5.0], [1.0, 2.0, 3.0]])
    student = torch.zeros(3, 3)
    # q = (0, 1/2, 1/2) and (1/2, 1/2, 0); p = 1/3 each; the third label is unknown.
    expected = float(torch.tensor(1.5).log())
    assert float(divergence(student, teacher, torch.tensor([0, 2, -1]))) == pytest.approx(
        expected, rel=1e-5
    )
    assert float(divergence(student, teacher, torch.tensor([-1, -1, -1]))) == 0.0


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.integers(-1, 1), min_size=1, max_size=6),
    st.integers(2, 5),
    st.sampled_from([0.0, 0.2, 0.7]),
)
def test_divergence_against_a_loop(
    seed: int, labels: list[int], classes: int, truth: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (
        3 * torch.randn(len(labels), classes, generator=draw, dtype=torch.float64) for _ in range(2)
    )
    known, total = sum(label >= 0 for label in labels), 0.0
    for ours, theirs, label in zip(student.tolist(), teacher.tolist(), labels, strict=True):
        others = sum(math.exp(z) for at, z in enumerate(theirs) if at != label)
        for at in range(classes) if label >= 0 else ():
            q = truth if at == label else (1 - truth) * math.exp(theirs[at]) / others
            p = math.exp(ours[at]) / sum(map(math.exp, ours))
            total += q * math.log(q / p) / known if q > 0 else 0.0
    assert float(divergence(student, teacher, torch.tensor(labels), truth=truth)) == pytest.approx(
        total, abs=1e-9
    )


def test_at_convergence_the_truth_is_gone_and_the_others_keep_their_ratios() -> None:
    teacher, label = torch.tensor([[3.0, 1.0, 0.0, -1.0]]), torch.tensor([0])
    student = teacher.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([student], lr=0.3)
    for _ in range(500):
        optimiser.zero_grad()
        divergence(student, teacher, label).backward()
        optimiser.step()
    p = student.detach().softmax(1)[0]
    assert float(p[0]) < 1e-3
    assert torch.allclose(p[1:] / p[1:].sum(), teacher[0, 1:].softmax(0), atol=1e-2)


def test_only_the_forgotten_are_read_and_their_loss_falls(small: Any, unlearn: Any) -> None:
    trace = unlearn(Delete(epochs=3, lr=3e-4)).trace
    assert trace.epochs[-1]["image"] < trace.epochs[0]["image"]
    assert trace.samples == {"forget": 4 * len(small.partition.forget)}
    assert trace.first_gradient is not None
    assert trace.first_gradient > 0


def test_impossible_options_are_refused() -> None:
    with pytest.raises(MethodError, match="truth"):
        Delete(truth=1.0)
