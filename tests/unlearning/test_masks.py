"""Choosing weights against a full sort; steps that move only those."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from forgetmi.unlearning.masks import largest, largest_by_encoder, masked, shares


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=40), st.floats(0, 1))
def test_largest_against_a_stable_sort(values: list[int], share: float) -> None:
    scores = {"a": torch.tensor(values[:1]).float(), "b": torch.tensor(values[1:]).float()[:, None]}
    found = largest(scores, share)
    order = np.argsort(-np.array(values), kind="stable")[: math.floor(share * len(values))]
    expected = np.isin(np.arange(len(values)), order)
    assert torch.cat([mask.flatten() for mask in found.values()]).tolist() == expected.tolist()
    assert {name: mask.shape for name, mask in found.items()} == {
        name: s.shape for name, s in scores.items()
    }


def test_encoders_are_ranked_apart() -> None:
    scores = {
        "img_model.a": torch.tensor([1.0, 2.0, 3.0, 4.0]),
        "text_model.a": torch.tensor([[50.0, 60.0]]),
    }
    branches = {"image": ("img_model.a",), "text": ("text_model.a",)}
    masks = largest_by_encoder(scores, 0.5, branches)
    assert masks["img_model.a"].tolist() == [False, False, True, True]
    assert masks["text_model.a"].tolist() == [[False, True]]
    assert shares(masks, branches) == {"image": 0.5, "text": 0.5}


def train(
    mask: Tensor | None, *, outside: float = 0.0, steps: int = 3, clip: bool = True
) -> tuple[nn.Linear, dict]:
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, 12).reshape(3, 4))
        model.weight[0, 0] = -0.0
        model.bias.zero_()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5, fused=True)
    x = torch.linspace(0, 1, 8).reshape(2, 4)

    def run() -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            model(x).square().sum().backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimiser.step()

    if mask is None:
        run()
    else:
        with masked(model, optimiser, {"weight": mask}, outside=outside):
            run()
    return model, optimiser.state[model.weight]


def bits(values: Tensor) -> bytes:
    return values.detach().numpy().tobytes()


def test_outside_the_mask_nothing_moves_and_no_moment_grows() -> None:
    mask = torch.arange(12).reshape(3, 4) % 3 == 1
    start, (done, state) = train(None, steps=0)[0], train(mask)
    assert bits(done.weight[~mask]) == bits(start.weight[~mask])
    assert not bool(torch.isclose(done.weight[mask], start.weight[mask]).any())
    assert not bool(state["exp_avg"][~mask].any() or state["exp_avg_sq"][~mask].any())
    assert bool(state["exp_avg_sq"][mask].all())
    assert not torch.equal(done.bias, start.bias)


@pytest.mark.parametrize("outside", [0.0, 0.1])
def test_a_full_mask_changes_nothing(outside: float) -> None:
    whole, plain = train(torch.ones(3, 4, dtype=torch.bool), outside=outside)[0], train(None)[0]
    assert bits(whole.weight) == bits(plain.weight)
    assert bits(whole.bias) == bits(plain.bias)


def test_outside_weights_take_a_part_of_the_step() -> None:
    mask = torch.arange(12).reshape(3, 4) % 2 == 0
    start, plain = train(None, steps=0)[0].weight, train(None, steps=1, clip=False)[0].weight
    part = train(mask, outside=0.25, steps=1, clip=False)[0].weight
    assert torch.equal(part[mask], plain[mask])
    assert torch.allclose((part - start)[~mask], 0.25 * (plain - start)[~mask], atol=1e-6)


def test_the_mask_ends_with_the_block() -> None:
    model = nn.Linear(2, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    with (
        pytest.raises(KeyError),
        masked(model, optimiser, {"weight": torch.zeros(1, 2, dtype=torch.bool)}),
    ):
        raise KeyError
    before = model.weight.detach().clone()
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    assert torch.allclose(model.weight, before - 1)
