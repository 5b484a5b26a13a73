"""CHIP: which neurons, which directions, and what a projection leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from forgetmi.core.errors import MethodError
from forgetmi.methods.chip import CHIP, activations, targets
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.unlearning.projection import directions, project, select


def test_selection_by_hand() -> None:
    lost = torch.tensor([[1.0, -5.0, 0.0, 2.0], [1.0, 5.0, 0.0, -2.0]])
    held = torch.tensor([[1.0, 1.0, 3.0, 0.5]])
    assert select(lost, held, share=0.5).tolist() == [1, 3]
    assert select(lost, held, share=0.01).tolist() == [1, 3]
    assert select(lost, held, share=1.0).tolist() == [0, 1, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(2, 5), st.floats(0.05, 1.0))
def test_directions_are_orthonormal_and_the_fewest(
    seed: int, patients: int, width: int, variance: float
) -> None:
    apart = torch.randn(patients, width, generator=torch.Generator().manual_seed(seed))
    basis = directions(apart, variance=variance)
    count = basis.shape[1]
    assert torch.allclose(basis.T @ basis, torch.eye(count, dtype=basis.dtype), atol=1e-9)
    unit = (apart / apart.norm(dim=1, keepdim=True)).double()

    def held(first: int) -> float:
        return float((unit @ basis[:, :first]).square().sum() / unit.square().sum())

    assert held(count) >= variance - 1e-6
    assert held(count - 1) < variance


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 3))
def test_projection(seed: int, count: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(8, 3, 2, generator=draw)
    neurons = torch.randperm(8, generator=draw)[:4].sort().values
    basis = torch.linalg.qr(torch.randn(4, count, generator=draw, dtype=torch.float64))[0]
    once = weight.clone()
    project(once, neurons, basis)
    assert (basis.T @ once[neurons].double().flatten(1)).abs().sum() < 1e-5
    others = np.setdiff1d(np.arange(8), neurons.numpy())
    assert torch.equal(once[others], weight[others])
    assert torch.equal(once, weight) == (count == 0)
    twice = once.clone()
    project(twice, neurons, basis)
    assert torch.allclose(twice, once, atol=1e-6)


def test_patients_who_do_not_differ_change_nothing() -> None:
    basis = directions(torch.zeros(3, 4), variance=0.95)
    assert basis.shape == (4, 0)
    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    same = weight.clone()
    project(same, torch.arange(4), basis)
    assert torch.equal(same, weight)


def test_activations_are_means_over_the_map_and_over_real_tokens(
    small: Any, memorised: ImageText
) -> None:
    chosen = targets(memorised, 2)
    assert list(chosen) == [
        "img_model.layer3.0.conv2",
        "img_model.layer3.1.conv2",
        "text_model.bert.encoder.layer.0.output.dense",
        "text_model.bert.pooler.dense",
    ]
    spec = memorised.spec
    model = build(replace(spec, text=replace(spec.text, layers=2)), seed=0).eval()
    chosen = targets(model, 3)
    batch, seen = small.prepared.records.batch(small.partition.forget[:3]), {}
    found = activations(model, chosen, [batch])
    handles = [
        layer.register_forward_hook(
            lambda module, given, out, name=name: seen.update({name: out.clone()})
        )
        for name, layer in chosen.items()
    ]
    with torch.no_grad():
        model(batch)
    for handle in handles:
        handle.remove()
    words, last = (
        "text_model.bert.encoder.layer.0.output.dense",
        "text_model.bert.encoder.layer.1.output.dense",
    )
    torch.testing.assert_close(found[last], seen[last][:, 0])  # [CLS] alone
    for at in range(3):
        real = seen[words][at][batch.mask[at] == 1]
        assert torch.allclose(found[words][at], real.mean(0), atol=1e-5)
        picture = seen["img_model.layer3.1.conv2"][at]
        assert torch.allclose(
            found["img_model.layer3.1.conv2"][at], picture.flatten(1).mean(1), atol=1e-5
        )


def test_only_the_chosen_layers_rows_move_and_once_is_enough(
    small: Any, memorised: ImageText, unlearn: Any
) -> None:
    done = unlearn(CHIP(share=0.25, layers=1))
    chosen = targets(memorised, 1)
    assert set(done.trace.changed) == {f"{name}.weight" for name in chosen}
    for name, layer in chosen.items():
        new = done.model.get_submodule(name)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        assert isinstance(new, nn.Linear | nn.Conv2d)
        rows = (new.weight != layer.weight).flatten(1).any(1)
        assert int(rows.sum()) == done.trace.facts[name]["neurons"] == layer.weight.shape[0] // 4
        rank = done.trace.facts[name]["directions removed"]
        left = torch.linalg.matrix_rank(new.weight[rows].detach().double().flatten(1), atol=1e-5)
        assert int(left) == int(rows.sum()) - rank
    assert done.trace.steps == 0
    forgotten = len(small.partition.forget)
    assert done.trace.samples == {
        "forget": forgotten,
        "retain": min(3 * forgotten, len(small.partition.retain)),
    }


@pytest.mark.parametrize(
    "wrong", [{"share": 0.0}, {"variance": 1.5}, {"layers": 0}, {"siblings": 0}]
)
def test_impossible_options_are_refused(wrong: Any) -> None:
    with pytest.raises(MethodError):
        CHIP(**wrong)
