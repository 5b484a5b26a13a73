"""The training half of findings: slow loops, limits in which it is two classes, and unknown labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from forgetmi.core.errors import SpecError
from forgetmi.model.tasks.classes import CLASSES, GRADES
from forgetmi.model.tasks.findings import FINDINGS

UNKNOWN = math.nan
SEEDS = st.integers(0, 10_000)


def drawn(seed: int, rows: int = 7, findings: int = 4) -> tuple[Tensor, Tensor]:
    """Logits, and labels of which a third is unknown."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, findings, dtype=torch.float64, generator=generator)
    state = torch.randint(3, (rows, findings), generator=generator)
    label = torch.where(state == 2, UNKNOWN, state.double())
    return logits, label


def as_two_classes(logits: Tensor) -> Tensor:
    """The logits of two classes, absent and present, with the same odds."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


def one_finding(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and labels of one finding, and the same labels as classes."""
    logits, label = drawn(seed, rows=9, findings=1)
    classes = torch.where(label.isnan(), -1, label.nan_to_num().long())[:, 0]
    return logits, label, classes


@settings(max_examples=20)
@given(seed=SEEDS)
def test_losses_and_errors_against_a_slow_loop(seed: int) -> None:
    logits, label = drawn(seed)
    losses, errors, labelled = [], [], 0
    for row in range(len(label)):
        each, wrong = [], []
        for z, y in zip(logits[row].tolist(), label[row].tolist(), strict=True):
            if not math.isnan(y):
                p = 1 / (1 + math.exp(-z))
                each.append(-math.log(p if y else 1 - p))
                wrong.append(float((z > 0) != (y > 0)))
        losses.append(sum(each) / len(each) if each else 0.0)
        errors.append(sum(wrong) / len(wrong) if wrong else 0.0)
        labelled += bool(each)
    assert FINDINGS.loss(logits, label).tolist() == pytest.approx(losses, rel=1e-9)
    assert FINDINGS.error(logits, label).tolist() == pytest.approx(errors)
    mean = sum(losses) / max(labelled, 1)
    assert float(FINDINGS.mean_loss(logits, label)) == pytest.approx(mean, rel=1e-9)


@settings(max_examples=20)
@given(seed=SEEDS)
def test_one_finding_is_two_classes(seed: int) -> None:
    """Loss, error, margin, both distances, the mean prediction and the convex head are those of two classes."""
    logits, label, classes = one_finding(seed)
    two = as_two_classes(logits)
    teacher = logits.flip(0)
    assert torch.allclose(FINDINGS.loss(logits, label), CLASSES.loss(two, classes))
    assert torch.allclose(FINDINGS.mean_loss(logits, label), CLASSES.mean_loss(two, classes))
    known = classes >= 0
    assert torch.equal(FINDINGS.error(logits, label)[known], CLASSES.error(two, classes)[known])
    assert torch.equal(
        FINDINGS.margin(label, label.flip(0)), GRADES.margin(classes, classes.flip(0))
    )
    for temperature in (1.0, 3.0):
        assert torch.allclose(
            FINDINGS.distance(logits, teacher, temperature=temperature),
            CLASSES.distance(two, as_two_classes(teacher), temperature=temperature),
        )
    for truth in (0.0, 0.3):
        assert torch.allclose(
            FINDINGS.distance_without_truth(logits, teacher, label, truth=truth),
            CLASSES.distance_without_truth(two, as_two_classes(teacher), classes, truth=truth),
        )
    mean = CLASSES.mean_prediction([two, as_two_classes(teacher)])
    assert torch.allclose(
        FINDINGS.mean_prediction([logits, teacher])[:, 0], mean[:, 1] - mean[:, 0]
    )
    assert FINDINGS.auc(logits[known], label[known]) == pytest.approx(
        CLASSES.auc(two[known], classes[known])
    )


@settings(max_examples=10)
@given(seed=SEEDS)
def test_distances_against_a_slow_loop(seed: int) -> None:
    student = drawn(seed)[0]
    teacher = drawn(seed + 1)[0]
    slow = 0.0
    for s, t in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True):
        p, q = 1 / (1 + math.exp(-t / 2)), 1 / (1 + math.exp(-s / 2))
        slow += 4 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
    found = FINDINGS.distance(student, teacher, temperature=2.0)
    assert float(found) == pytest.approx(slow / student.numel(), rel=1e-9)
    assert float(FINDINGS.distance(student, student)) == pytest.approx(0.0, abs=1e-12)


def test_the_distance_without_the_truth_is_smallest_where_it_should_be() -> None:
    label = torch.tensor([[1.0, 0.0, UNKNOWN]])
    wanted = torch.tensor([[math.log(0.2 / 0.8), math.log(0.8 / 0.2), 5.0]])
    found = FINDINGS.distance_without_truth(wanted, wanted, label, truth=0.2)
    assert float(found) == pytest.approx(0.0, abs=1e-6)
    assert float(FINDINGS.distance_without_truth(-wanted, wanted, label, truth=0.2)) > 0.1


@settings(max_examples=10)
@given(seed=SEEDS)
def test_unknown_findings_take_no_part(seed: int) -> None:
    """Their logits change nothing, and get no gradient; nothing becomes NaN."""
    logits, label = drawn(seed)
    other = torch.where(label.isnan(), logits + 7, logits)
    for function in (
        FINDINGS.mean_loss,
        lambda z, y: FINDINGS.distance_without_truth(z, z, y, truth=0.1),
    ):
        assert float(function(logits, label)) == pytest.approx(float(function(other, label)))
        leaf = logits.clone().requires_grad_()
        function(leaf, label).backward()
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())
        assert not bool(leaf.grad[label.isnan()].any())

    nothing = torch.full_like(label, UNKNOWN)
    assert float(FINDINGS.mean_loss(logits, nothing)) == 0
    assert FINDINGS.groups(nothing).tolist() == [-1] * len(label)
    assert FINDINGS.auc(logits, nothing) is None


def test_the_gradient_is_that_of_differences() -> None:
    logits, label = drawn(5, rows=3, findings=2)
    for function in (FINDINGS.mean_loss, lambda z, _: FINDINGS.distance(z, label.nan_to_num())):
        assert torch.autograd.gradcheck(lambda z, f=function: f(z, label), logits.requires_grad_())


def test_margins_and_groups() -> None:
    one = torch.tensor([[1.0, 0.0, UNKNOWN], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    other = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [UNKNOWN, 1.0, UNKNOWN]])
    assert FINDINGS.margin(one, other).tolist() == [2.0, 0.5, 1.0]
    assert FINDINGS.groups(one).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("rule", "changes"), [("other", {3}), ("neighbour", {1}), ("any", {0, 1, 2, 3})]
)
def test_wrong_labels(rule: Any, changes: set[int]) -> None:
    label = [1.0, 0.0, UNKNOWN, 1.0]
    seen, places = set(), set()
    for seed in range(60):
        new = FINDINGS.other(label, 4, rule=rule, generator=np.random.default_rng(seed))
        moved = [place for place in (0, 1, 3) if new[place] != label[place]]
        assert math.isnan(new[2])
        assert all(new[place] in (0.0, 1.0) for place in (0, 1, 3))
        seen.add(len(moved))
        places.update(moved)
    assert seen == changes
    assert places == {0, 1, 3}
    assert label == [1.0, 0.0, pytest.approx(UNKNOWN, nan_ok=True), 1.0]


@pytest.mark.parametrize("rule", ["other", "neighbour", "any"])
def test_a_label_takes_the_same_draws_whatever_is_known(rule: Any) -> None:
    after = []
    for label in ([1.0, 0.0], [UNKNOWN, 1.0], [UNKNOWN, UNKNOWN]):
        generator = np.random.default_rng(3)
        FINDINGS.other(label, 2, rule=rule, generator=generator)
        after.append(generator.random())
    assert len(set(after)) == 1


def test_a_wrong_finding_of_one_is_the_other_class() -> None:
    for rule in ("other", "neighbour"):
        for label in (0, 1):
            new = FINDINGS.other([float(label)], 1, rule=rule, generator=np.random.default_rng(0))
            assert new == [
                float(CLASSES.other(label, 2, rule=rule, generator=np.random.default_rng(0)))
            ]


def test_the_mean_prediction_is_that_of_the_mean_probability() -> None:
    logits = [torch.tensor([[-1.0, 40.0]]), torch.tensor([[2.0, 30.0]])]
    probability = torch.stack(logits).double().sigmoid().mean(dim=0)
    found = FINDINGS.mean_prediction(logits).double()
    assert float(found[0, 0].sigmoid()) == pytest.approx(float(probability[0, 0]), rel=1e-6)
    assert 30 < float(found[0, 1]) < 40


def test_the_space_is_the_logits() -> None:
    torch.manual_seed(0)
    head, embedding = nn.Linear(6, 3), torch.randn(5, 6)
    space = FINDINGS.space(head)
    logits = head(embedding).detach().numpy()
    np.testing.assert_allclose(space.coordinates(embedding), logits, atol=1e-6)
    wanted = logits + 1.5
    moved = space.embedding(embedding, wanted)
    np.testing.assert_allclose(space.coordinates(moved), wanted, atol=1e-5)
    cells = space.cells(np.array([[1.0, 0.0, UNKNOWN]]))
    assert cells.tolist() == [[1, 0, -1]]
    assert [unit.along.tolist() for unit in space.units] == [[[-1.0], [1.0]]] * 3


def test_the_convex_heads_are_separate_logistic_regressions() -> None:
    """Gradient and Hessian by autograd; a finding alone has the same ones as beside others."""
    torch.manual_seed(0)
    label = drawn(2, rows=12, findings=3)[1]
    features = torch.cat([torch.randn(12, 4).double(), torch.ones(12, 1).double()], dim=1)
    noise, weight = torch.randn(3, 5).double(), torch.randn(15).double()

    def slow(flat: Tensor) -> Tensor:
        w = flat.view(3, 5)
        total = (noise * w).sum()
        for finding in range(3):
            there = ~label[:, finding].isnan()
            z, y = (features[there] @ w[finding]), label[there, finding]
            total = total + nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
            total = total + 0.05 * int(there.sum()) / 2 * w[finding].square().sum()
        return total

    gradient, blocks = FINDINGS.convex(features, label, noise=noise, ridge=0.05)(weight)
    assert torch.allclose(gradient, torch.autograd.functional.jacobian(slow, weight))
    hessian = torch.autograd.functional.hessian(slow, weight)
    assert torch.allclose(torch.block_diag(*blocks), hessian)


def test_nobody_has_no_finding() -> None:
    with pytest.raises(SpecError, match="at least 1 finding"):
        FINDINGS.outputs(0)
