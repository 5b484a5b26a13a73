"""The training half of pairs: the contrastive loss against a slow loop, and models without heads."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import MethodError
from forgetmi.core.heads import added
from forgetmi.model.losses import base_loss
from forgetmi.model.pair_losses import info_nce
from forgetmi.model.tasks.pairs import PAIRS


def slow_info_nce(
    one: torch.Tensor, other: torch.Tensor, study: list[int], temperature: float
) -> float:
    """Sample by sample, both ways."""
    total = 0.0
    for a, b in ((one, other), (other, one)):
        for i in range(len(study)):
            similarities = {}
            for j in range(len(study)):
                if i == j or study[i] != study[j]:
                    cosine = float(a[i] @ b[j] / (a[i].norm() * b[j].norm()))
                    similarities[j] = math.exp(cosine / temperature)
            total -= math.log(similarities[i] / sum(similarities.values()))
    return total / (2 * len(study))


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000),
    study=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    temperature=st.sampled_from([0.07, 0.5]),
)
def test_the_contrastive_loss_against_a_slow_loop(
    seed: int, study: list[int], temperature: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, len(study), 3, dtype=torch.float64, generator=generator)
    found = info_nce(one, other, torch.tensor(study), temperature=temperature)
    assert float(found) == pytest.approx(
        slow_info_nce(one, other, study, temperature), rel=1e-6, abs=1e-9
    )


def test_limits() -> None:
    study = torch.arange(4)
    same = torch.ones(4, 3)
    assert float(info_nce(same, same, study)) == pytest.approx(math.log(4))
    assert float(info_nce(same, same, torch.zeros(4))) == 0
    assert float(info_nce(10 * torch.eye(4), torch.eye(4), study)) == pytest.approx(0, abs=1e-4)
    one, other = torch.randn(2, 4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: info_nce(a, b, study), (one.requires_grad_(), other.requires_grad_())
    )


def test_the_loss_of_a_model_without_heads() -> None:
    torch.manual_seed(0)
    embedding = {"image": torch.randn(5, 4), "text": torch.randn(5, 4), "joint": torch.randn(5, 4)}
    label = torch.zeros(5, dtype=torch.int64)
    batch = Batch({}, label, torch.arange(5), torch.arange(5))
    loss = base_loss(Outputs({}, embedding), batch, task=PAIRS, ranking_weight=0.0)
    expected = info_nce(embedding["image"], embedding["text"], batch.study)
    assert float(loss.total) == float(expected)
    assert loss.heads == {}
    with pytest.raises(MethodError, match="two modalities"):
        base_loss(Outputs({}, {"image": embedding["image"]}), batch, task=PAIRS)


def test_predictions_are_refused_in_one_sentence() -> None:
    logits, label = torch.zeros(2, 0), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(MethodError, match="does not apply to pairs"):
        PAIRS.mean_loss(logits, label)
    with pytest.raises(MethodError, match="does not apply to pairs"):
        PAIRS.space(nn.Linear(2, 2))
    with pytest.raises(MethodError, match="predicts no label"):
        added({})
