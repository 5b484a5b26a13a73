"""Findings: every measure against a slow computation cell by cell, or a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.finding_measures import FindingMeasures
from forgetmi.evaluation.statistics import once

TASK = FindingMeasures()


def some(rows: int = 40, findings: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    label = (draw.random((rows, findings)) < 0.5).astype(float)
    label[draw.random(label.shape) < 0.3] = np.nan
    label[:, 0] = np.where(np.arange(rows) < rows // 2, 1.0, 0.0)  # so that each row has one
    return draw.normal(size=(rows, findings)) + np.nan_to_num(label), label


def test_signal_and_loss_are_means_over_the_known_findings() -> None:
    log_odds, label = some()
    for row in range(len(label)):
        margins, losses = [], []
        for odds, truth in zip(log_odds[row], label[row], strict=True):
            if not math.isnan(truth):
                p = 1 / (1 + math.exp(-odds))
                right = p if truth == 1 else 1 - p
                margins.append(math.log(right) - math.log(1 - right))
                losses.append(-math.log(right))
        assert TASK.signal(log_odds, label)[row] == pytest.approx(np.mean(margins))
        assert TASK.loss(log_odds, label)[row] == pytest.approx(np.mean(losses))


def test_distances_by_hand() -> None:
    first, second = np.array([[0.0, 2.0]]), np.array([[math.log(3), 2.0]])
    # 1/2 against 3/4, and the same
    kl = 0.5 * math.log(0.5 / 0.625) + 0.5 * math.log(0.5 / 0.375)
    back = 0.75 * math.log(0.75 / 0.625) + 0.25 * math.log(0.25 / 0.375)
    assert TASK.distance(first, second)[0] == pytest.approx((kl + back) / 2 / 2)
    assert TASK.distance(first, first)[0] == 0
    assert TASK.divergence(first, second)[0] == pytest.approx(0.25 * math.log(3) / 2)


def test_heads_together_have_the_mean_probability() -> None:
    first, second = np.array([[800.0, 0.0]]), np.array([[800.0, math.log(3)]])
    together = TASK.together([first, second])
    assert together[0, 0] == pytest.approx(800)  # where probabilities round to 1
    assert 1 / (1 + math.exp(-together[0, 1])) == pytest.approx((0.5 + 0.75) / 2)


def test_scores_agree_with_scikit_learn_under_weights() -> None:
    log_odds, label = some()
    weights = np.random.default_rng(1).integers(0, 3, size=(2, len(label))).astype(float)
    for number, name in enumerate(TASK.single_scores(3)):
        known = ~np.isnan(label[:, number])
        found = TASK.score(name, log_odds, label)(weights)
        for place, weight in enumerate(weights):
            expected = roc_auc_score(
                label[known, number], log_odds[known, number], sample_weight=weight[known]
            )
            assert found[place] == pytest.approx(expected)

    aucs = [TASK.score(name, log_odds, label)(weights) for name in TASK.single_scores(3)]
    np.testing.assert_allclose(TASK.score("auc", log_odds, label)(weights), np.mean(aucs, axis=0))

    f1, right = [], 0.0
    for number in range(3):
        known = ~np.isnan(label[:, number])
        said = log_odds[known, number] > 0
        f1.append(f1_score(label[known, number], said))
        right += (said == label[known, number]).sum()
    assert TASK.score("f1", log_odds, label)(once(len(label)))[0] == pytest.approx(np.mean(f1))
    accuracy = TASK.score("accuracy", log_odds, label)(once(len(label)))[0]
    assert accuracy == pytest.approx(right / (~np.isnan(label)).sum())


def test_a_finding_that_nobody_has_is_named_and_left_out() -> None:
    log_odds, label = some()
    label[:, 2] = np.where(np.isnan(label[:, 2]), np.nan, 0.0)
    note = TASK.note("auc", 3, label, ("edema", "effusion", "fracture"))
    assert note.startswith("mean over 2 of 3 findings")
    assert note.endswith(": fracture")
    weights = once(len(label))
    two = [TASK.score(f"auc_finding_{number}", log_odds, label)(weights) for number in (1, 2)]
    np.testing.assert_allclose(TASK.score("auc", log_odds, label)(weights), np.mean(two, axis=0))
    with pytest.raises(EvaluationError, match="not both there and absent"):
        TASK.score("auc_finding_3", log_odds, label)
    with pytest.raises(EvaluationError, match="no finding is both"):
        TASK.score("auc", log_odds, np.zeros_like(label))


def test_groups_count_findings() -> None:
    label = np.array([[0, 0, 0, 0], [1, 0, np.nan, 0], [1, 1, 1, 1], [np.nan] * 4])
    assert TASK.groups(label).tolist() == [0, 1, 3, -1]
    assert TASK.correct(np.array([[1.0, -1, 1, 1]] * 4), label)[1] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("label", "columns", "why"),
    [
        (np.zeros(3, np.int64), 2, "one column for each"),
        (np.full((3, 2), 0.5), 2, "0, 1, or NaN"),
        (np.full((3, 2), -1.0), 2, "0, 1, or NaN"),
        (np.zeros((3, 2)), 3, "as many columns"),
        (np.full((3, 2), np.nan), 2, "no finding of any sample is known"),
        (np.ones((3, 2)), 2, "there for some and absent for others"),
    ],
)
def test_labels_that_are_no_findings(label: np.ndarray, columns: int, why: str) -> None:
    (fault,) = TASK.faults(label, columns, ())
    assert why in fault.why
