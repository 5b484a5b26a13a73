"""l1-sparse: its penalty, its schedule, and that weights shrink."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.methods.fine_tune import FineTune
from forgetmi.methods.l1_sparse import L1Sparse
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.losses import l1_norm


def norm(model: ImageText) -> float:
    return sum(float(p.detach().abs().sum()) for p in model.parameters() if p.ndim > 1)


def test_the_norm_by_hand() -> None:
    values = torch.tensor([[1.0, -2.0], [0.0, 0.5]], requires_grad=True)
    total = l1_norm([values, torch.tensor([-3.0])])
    total.backward()
    assert float(total.detach()) == pytest.approx(6.5)
    assert values.grad is not None
    assert values.grad.tolist() == [[1.0, -1.0], [0.0, 1.0]]


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**31), st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=4)
)
def test_the_norm_against_a_loop(seed: int, shapes: list[list[int]]) -> None:
    draw = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
    slow = 0.0
    for values in tensors:
        for value in values.flatten().tolist():
            slow += value if value > 0 else -value
    assert float(l1_norm(iter(tensors))) == pytest.approx(slow, rel=1e-12)


def test_the_penalty_falls_linearly_to_zero_at_the_stated_epoch() -> None:
    method = L1Sparse(epochs=6, plain_epochs=2)
    assert [method.factor(epoch) for epoch in range(6)] == pytest.approx(
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    )


def test_the_log_shows_the_penalty_of_each_encoder_weighted(
    memorised: ImageText, unlearn: Any
) -> None:
    trace = unlearn(
        L1Sparse(image_alpha=0.1, text_alpha=0.01, epochs=2, plain_epochs=1, lr=0.0)
    ).trace
    image, text = (
        float(l1_norm(p for p in part.parameters() if p.ndim > 1).detach())
        for part in (memorised.img_model, memorised.text_model)
    )
    assert trace.epochs[0]["l1"] == pytest.approx(0.1 * image + 0.01 * text, rel=1e-5)
    assert "l1" not in trace.epochs[1]


def test_weights_shrink(memorised: ImageText, unlearn: Any) -> None:
    sparse, plain = (
        unlearn(method).model
        for method in (L1Sparse(image_alpha=1e-2, text_alpha=1e-2, epochs=3), FineTune(epochs=3))
    )
    assert norm(sparse) < min(norm(plain), norm(memorised))


def test_only_the_retained_are_read(unlearn: Any) -> None:
    assert set(unlearn(L1Sparse(epochs=1)).trace.samples) == {"retain"}
