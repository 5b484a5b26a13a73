"""Utility metrics against scikit-learn on resampled data, and against the numbers of the Forget-MI release."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.distance import cosine_distance
from forgetmi.evaluation.utility import (
    accuracy,
    auc_per_class,
    macro_auc,
    macro_f1,
    mean_ordinal_auc,
    mean_pairwise_auc,
    ordinal_auc,
    pairwise_auc,
    severity_mse,
)

ORACLE = Path(__file__).parents[2] / ".." / "shared" / "data" / "oracles" / "metrics.json"
released = pytest.mark.skipif(
    not ORACLE.exists(), reason="the release's numbers are not beside this checkout"
)


@given(st.integers(0, 10_000), st.integers(8, 40))
@settings(max_examples=15, deadline=None)
def test_equal_to_scikit_learn_on_resampled_images(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    p, label = softmax(rng.normal(size=(n, 4)), axis=1), rng.integers(0, 4, n)
    label[:2] = 0, 1
    weights = rng.integers(0, 3, (4, n)).astype(float)
    weights[:, :2] = 1
    auc, f1, acc = (
        macro_auc(p, label, weights),
        macro_f1(p, label, weights),
        accuracy(p, label, weights),
    )
    mse = severity_mse(p, label, weights)
    for b, weight in enumerate(weights.astype(int)):
        at = np.repeat(np.arange(n), weight)
        y, q = label[at], p[at]
        assert auc[b] == pytest.approx(
            np.mean([roc_auc_score(y == c, q[:, c]) for c in np.unique(y)]), abs=1e-12
        )
        assert f1[b] == pytest.approx(f1_score(y, q.argmax(1), average="macro"), abs=1e-12)
        assert acc[b] == pytest.approx(accuracy_score(y, q.argmax(1)), abs=1e-12)
        assert mse[b] == pytest.approx(np.mean((q @ [0, 1, 2, 3] - y) ** 2), abs=1e-12)


def test_binary_closed_forms() -> None:
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]])
    label = np.array([0, 0, 1, 1])
    assert macro_auc(p, label)[0] == 0.75
    assert pairwise_auc(p, label)[0, 1][0] == 0.75
    assert ordinal_auc(p, label)[0][0] == 0.75
    assert accuracy(p, label)[0] == 0.5
    assert macro_f1(p, label)[0] == 0.5


def test_absent_classes_are_left_out_and_one_class_is_refused() -> None:
    p = softmax(np.random.default_rng(0).normal(size=(12, 4)), axis=1)
    label = np.array([0, 1, 2] * 4)
    per_class = auc_per_class(p, label)[0]
    assert np.isnan(per_class[3])
    assert macro_auc(p, label)[0] == pytest.approx(per_class[:3].mean())
    pairs = pairwise_auc(p, label)
    assert np.isnan(pairs[0, 3][0])
    assert mean_pairwise_auc(p, label)[0] == pytest.approx(
        np.mean([pairs[0, 1], pairs[0, 2], pairs[1, 2]])
    )
    assert mean_ordinal_auc(p, label)[0] == pytest.approx(
        np.mean([ordinal_auc(p, label)[k][0] for k in (0, 1)])
    )
    with pytest.raises(EvaluationError, match="fewer than two classes"):
        macro_auc(p, np.zeros(12, np.int64))


def test_probabilities_that_underflow_show_no_preference() -> None:
    p = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert pairwise_auc(p, np.array([0, 1]))[0, 1][0] == 0.5


def _same(found: float, released_value: float | None) -> bool:
    return (
        bool(np.isnan(found))
        if released_value is None
        else found == pytest.approx(released_value, abs=6e-5)
    )


@released
@pytest.mark.parametrize("number", range(6))
def test_parity_with_the_release(number: int) -> None:
    case = json.loads(ORACLE.read_text())["cases"][number]
    p, label, expected = (
        softmax(np.array(case["logits"]), axis=1),
        np.array(case["labels"]),
        case["expected"],
    )
    for found, value in zip(auc_per_class(p, label)[0], expected["auc_per_class"], strict=True):
        assert _same(found, value)
    if expected["auc_mean_unrounded"] is not None:
        assert macro_auc(p, label)[0] == pytest.approx(expected["auc_mean_unrounded"], abs=6e-5)
    for (i, j), found in pairwise_auc(p, label).items():
        assert _same(found[0], expected["pairwise_auc"][f"{i}v{j}"])
    for k, found in ordinal_auc(p, label).items():
        assert _same(found[0], expected["ordinal_auc"][k])
    assert _same(accuracy(p, label)[0], expected["accuracy"])
    assert _same(macro_f1(p, label)[0], expected["macro_f1"])
    assert _same(severity_mse(p, label)[0], expected["mse_of_expected_severity"])


@released
def test_cosine_parity_with_the_release() -> None:
    case = json.loads(ORACLE.read_text())["similarity"]
    found = 1 - cosine_distance(np.array(case["logits_a"]), np.array(case["logits_b"]))
    np.testing.assert_allclose(found, case["per_sample_cosine"], atol=1e-6)
