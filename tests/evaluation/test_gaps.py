"""The gap against hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.gaps import gap, retrain_gap

RETRAINS = np.array(
    [[[0.0], [0.3]], [[0.6], [0.3]], [[0.3], [0.9]]]
)  # three models, two metrics, one resample


def test_gap_by_hand() -> None:
    """Means without each: (.45, .60), (.15, .60), (.30, .30)."""
    model = np.array([[0.5], [0.5]])
    expected = np.mean([(0.05 + 0.10) / 2, (0.35 + 0.10) / 2, (0.20 + 0.20) / 2])
    assert gap(model, RETRAINS)[0] == pytest.approx(expected)
    assert retrain_gap(RETRAINS, 0)[0] == pytest.approx((0.45 + 0.30) / 2)
    assert retrain_gap(RETRAINS, 1)[0] == pytest.approx((0.45 + 0.30) / 2)
    assert retrain_gap(RETRAINS, 2)[0] == pytest.approx((0.0 + 0.6) / 2)


def test_a_retrain_is_one_and_a_half_times_as_far_from_the_other_two_as_from_all_three() -> None:
    to_all = np.abs(RETRAINS[0] - RETRAINS.mean(0)).mean(0)
    np.testing.assert_allclose(retrain_gap(RETRAINS, 0), 1.5 * to_all)


def test_a_fresh_retrain_has_the_same_expected_gap_as_the_floor() -> None:
    draws = np.random.default_rng(0).normal(
        size=(4, 5, 20_000)
    )  # three retrained models and one like them
    floor = np.mean([retrain_gap(draws[:3], r) for r in range(3)])
    assert gap(draws[3], draws[:3]).mean() == pytest.approx(floor, rel=0.01)


def test_equal_retrains_and_too_few() -> None:
    same = np.repeat(RETRAINS[:1], 3, axis=0)
    assert retrain_gap(same, 1)[0] == pytest.approx(0)
    assert gap(RETRAINS[0], same)[0] == pytest.approx(0)
    for call in (lambda: gap(RETRAINS[0], RETRAINS[:1]), lambda: retrain_gap(RETRAINS[:1], 0)):
        with pytest.raises(EvaluationError, match="at least two"):
            call()
