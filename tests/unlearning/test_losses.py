"""The unlearning losses against hand computation, slow oracles and their limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.core.batch import Outputs
from forgetmi.core.errors import MethodError
from forgetmi.model.class_losses import cross_entropy, distillation
from forgetmi.model.tasks.classes import GRADES
from forgetmi.unlearning.loop import embeddings, side_by_side, unimodal
from forgetmi.unlearning.losses import (
    away,
    classification,
    distance,
    head_distillation,
    keep,
    towards,
)


def test_distance_by_hand() -> None:
    a, b = torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 4.0], [1.0, 1.0]])
    assert distance(a, b).tolist() == pytest.approx([5.0, 0.0])


def test_distance_has_a_zero_gradient_at_zero() -> None:
    a = torch.ones(2, 3, requires_grad=True)
    distance(a, torch.ones(2, 3)).sum().backward()
    assert a.grad is not None
    assert torch.equal(a.grad, torch.zeros(2, 3))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(1.0, 100.0))
def test_distance_is_euclidean_above_one(seed: int, length: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    a, step = (torch.randn(4, 6, generator=draw, dtype=torch.float64) for _ in range(2))
    b = a + length * step / step.norm(dim=1, keepdim=True)
    assert torch.allclose(
        distance(a, b), torch.full((4,), length, dtype=torch.float64), atol=1e-8, rtol=0
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_both_directions_against_a_loop(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(5, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    each = [
        math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(p, q, strict=True)))
        for p, q in zip(a, b, strict=True)
    ]
    assert float(towards(a, b)) == pytest.approx(sum(each) / 5, abs=1e-6)
    assert float(away(a, b, bound=2.0)) == pytest.approx(
        -sum(min(one, 2.0) for one in each) / 5, abs=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_what_is_kept_is_pulled_back_from_anywhere_but_rounding(seed: int, size: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    original = (size * torch.randn(4, 64, generator=draw)).requires_grad_()
    step = torch.randn(4, 64, generator=draw)
    step *= original.detach().norm(dim=1, keepdim=True) / step.norm(dim=1, keepdim=True)
    far = torch.tensor([0.0, 1e-6, 1e-4, 0.1])[:, None]  # shares of the original's length
    student = (original.detach() + far * step).requires_grad_()
    other = student.detach().clone().requires_grad_()
    found, plain = keep(student, original), towards(other, original)
    found.backward()
    plain.backward()
    assert student.grad is not None
    assert other.grad is not None
    assert torch.equal(student.grad[:2], torch.zeros(2, 64))
    assert torch.equal(student.grad[2:], other.grad[2:])
    assert bool((other.grad[1:].norm(dim=1) > 0).all())
    away_from_it = distance(student.detach(), original.detach())[2:]
    assert float(found.detach()) == pytest.approx(float(away_from_it.sum()) / 4, rel=1e-5)
    assert original.grad is None


def test_away_pushes_apart_and_stops_at_the_bound() -> None:
    target = torch.zeros(2, 2)
    student = torch.tensor([[0.5, 0.0], [9.0, 0.0]], requires_grad=True)
    away(student, target, bound=3.0).backward()
    assert student.grad is not None
    assert float(student.grad[0, 0]) < 0  # descending moves the near sample further away
    assert torch.equal(student.grad[1], torch.zeros(2))  # the far one is beyond the bound


def test_towards_pulls_together_and_the_target_stays() -> None:
    student = torch.tensor([[2.0, 0.0]], requires_grad=True)
    target = torch.zeros(1, 2, requires_grad=True)
    towards(student, target).backward()
    assert student.grad is not None
    assert float(student.grad[0, 0]) > 0
    assert target.grad is None


def test_heads_are_added_whatever_their_number() -> None:
    torch.manual_seed(0)
    label = torch.tensor([0, 1, -1])
    logits = {name: torch.randn(3, 2) for name in ("image", "text", "table")}
    teacher = Outputs({name: torch.randn(3, 2) for name in logits})

    for heads in (("table",), ("image", "text"), ("image", "text", "table")):
        out = Outputs({name: logits[name] for name in heads})
        alone = [cross_entropy(logits[name], label) for name in heads]
        assert float(classification(out, label, task=GRADES)) == pytest.approx(
            float(sum(alone)), rel=1e-6
        )

        taught = [
            distillation(logits[name], teacher.logits[name], temperature=2.0) for name in heads
        ]
        found = head_distillation(out, teacher, temperature=2.0, task=GRADES)
        assert float(found) == pytest.approx(float(sum(taught)), rel=1e-6)

    with pytest.raises(MethodError, match="no other head"):
        head_distillation(Outputs({"other": logits["image"]}), teacher, task=GRADES)


def test_embeddings_side_by_side_leave_out_the_joint_one() -> None:
    one, two = torch.zeros(3, 2), torch.ones(3, 4)
    out = Outputs({}, {"image": one, "table": two, "joint": two})
    assert torch.equal(side_by_side(out), torch.cat([one, two], dim=1))
    assert list(embeddings(out)) == ["image", "table", "joint"]
    with pytest.raises(MethodError, match="a joint one"):
        embeddings(Outputs({}, {"image": one, "table": two}))
    with pytest.raises(MethodError, match="needs a model with embeddings"):
        unimodal(Outputs({}, {"joint": two}))
