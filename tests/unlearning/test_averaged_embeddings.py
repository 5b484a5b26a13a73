"""Mean embeddings over changed copies: hand computation, a slow oracle, limits; and what heads read of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from forgetmi.data.loaders import Loader
from forgetmi.data.noise import Perturbation, augmentation
from forgetmi.model.head_space import centred_basis, class_space
from forgetmi.model.initialise import build
from forgetmi.unlearning.averaged_embeddings import average_over_augmentations, mean_embedding
from forgetmi.unlearning.loaders import GuardedLoader
from forgetmi.unlearning.teacher import frozen, tabulate


def test_mean_embedding_by_hand() -> None:
    found = mean_embedding([torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])])
    assert found.vector.tolist() == [[1.5, 0.5]]
    assert found.length.tolist() == [2.0]
    assert found.rescaled.norm(dim=1).item() == pytest.approx(2.0)
    assert (found.rescaled[0, 0] / found.rescaled[0, 1]).item() == pytest.approx(3.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_mean_embedding_against_a_loop(seed: int, number: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    draws = [torch.randn(3, 5, generator=draw, dtype=torch.float64) for _ in range(number)]
    found = mean_embedding(draws)
    for i in range(3):
        mean = [sum(float(d[i, j]) for d in draws) / number for j in range(5)]
        length = sum(math.sqrt(sum(float(x) ** 2 for x in d[i])) for d in draws) / number
        own = math.sqrt(sum(x * x for x in mean))
        assert found.vector[i].tolist() == pytest.approx(mean)
        assert found.rescaled[i].tolist() == pytest.approx([x * length / own for x in mean])
        assert own <= length + 1e-12


def test_one_draw_is_itself_bit_for_bit() -> None:
    draw = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    found = mean_embedding([draw])
    assert torch.equal(found.vector, draw)
    assert torch.equal(found.rescaled, draw)


def test_an_embedding_of_zero_stays_zero() -> None:
    found = mean_embedding([torch.zeros(2, 4), torch.zeros(2, 4)])
    assert torch.equal(found.rescaled, torch.zeros(2, 4))


@pytest.fixture(scope="module")
def teacher(small: Any) -> Any:
    return frozen(build(small.prepared.spec, seed=1))


@pytest.fixture(scope="module")
def forget(small: Any) -> GuardedLoader:
    loader = Loader(small.prepared.records, small.partition.forget, batch_size=4, seed=0)
    return GuardedLoader(loader, labels=True, patient=small.partition.patient, device="cpu")


def test_unchanged_samples_have_the_original_embeddings(
    teacher: Any, forget: GuardedLoader
) -> None:
    found = average_over_augmentations(teacher, forget, forget.rows, [None])
    clean = tabulate(teacher, forget.batches(forget.rows))
    assert torch.equal(found.rescaled["image"], clean.image)
    assert torch.equal(found.rescaled["text"], clean.text)
    nothing = average_over_augmentations(teacher, forget, forget.rows, [Perturbation()])
    assert torch.equal(nothing.means["image"].vector, clean.image)
    assert torch.equal(nothing.means["text"].vector, clean.text)


def test_washing_against_one_table_a_draw(small: Any, teacher: Any, forget: GuardedLoader) -> None:
    changes = [augmentation(seed=7, draw=draw) for draw in range(3)]
    rows = forget.rows[::-1].copy()
    found = average_over_augmentations(teacher, forget, rows, changes)
    tables = [tabulate(teacher, forget.batches(rows, perturbation=change)) for change in changes]
    assert list(found.means) == ["image", "text"]
    for name, mean in found.means.items():
        stacked = torch.stack([getattr(table, name) for table in tables])
        assert torch.allclose(mean.vector, stacked.mean(0), atol=1e-6)
        assert torch.allclose(mean.length, stacked.norm(dim=2).mean(0), atol=1e-6)
        assert float((stacked[0] - stacked[1]).abs().max()) > 0
    assert found.label.tolist() == small.cohort.label[rows].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6))
def test_head_space_reaches_the_coordinates_asked_for(seed: int, classes: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    head = nn.Linear(12, classes)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(generator=draw)
    space = class_space(head)
    near = torch.randn(5, 12, generator=draw, dtype=torch.float64)
    wanted = torch.randn(5, classes - 1, generator=draw, dtype=torch.float64).numpy()
    found = space.embedding(near, wanted)
    assert np.allclose(space.coordinates(found), wanted, atol=1e-6)
    logits = nn.functional.linear(found, head.weight.double(), head.bias.double()).detach().numpy()
    assert np.allclose(logits @ centred_basis(classes), wanted, atol=1e-6)
    step = (found - near).numpy()
    rows = centred_basis(classes).T @ head.weight.detach().double().numpy()
    blind = step - step @ np.linalg.pinv(rows) @ rows
    assert np.abs(blind).max() < 1e-6  # nothing moves that the head does not read: the shortest way


def test_head_space_leaves_an_embedding_that_is_there_already() -> None:
    head = nn.Linear(8, 4)
    near = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(
        class_space(head).embedding(near, class_space(head).coordinates(near)), near, atol=1e-6
    )
