"""Exact rates, and the lower bounds of epsilon at published and hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.attacks.epsilon import one_run, one_run_p_value, two_worlds
from forgetmi.evaluation.attacks.tpr import clopper_pearson, smallest_fpr, tpr_at_fpr
from tests.evaluation.attacks.closed_forms import gaussian_tpr


@pytest.mark.parametrize(
    ("true", "false", "runs", "expected"),
    [(50, 1, 100, 1.99), (250, 5, 500, 2.98), (100, 0, 100, 3.28)],
)
def test_two_worlds(true: int, false: int, runs: int, expected: float) -> None:
    assert two_worlds(true_positives=true, false_positives=false, runs=runs) == pytest.approx(
        expected, abs=0.005
    )
    mirrored = two_worlds(true_positives=runs - false, false_positives=runs - true, runs=runs)
    assert mirrored == pytest.approx(expected, abs=0.005)
    halved = two_worlds(true_positives=true, false_positives=false, runs=runs, copies=2)
    assert halved == pytest.approx(expected / 2, abs=0.005)


def test_two_worlds_without_an_effect_is_zero() -> None:
    assert two_worlds(true_positives=30, false_positives=30, runs=60) == 0
    assert two_worlds(true_positives=0, false_positives=0, runs=60) == 0
    assert two_worlds(true_positives=5, false_positives=50, runs=60) == 0


@pytest.mark.parametrize(
    ("m", "r", "v", "expected"),
    [
        (10, 10, 10, 1.05),
        (30, 30, 30, 2.25),
        (100, 100, 100, 3.49),
        (100, 50, 40, 0.77),
        (300, 100, 80, 0.96),
        (60, 60, 45, 0.58),
        (100, 50, 25, 0.0),
        (100, 0, 0, 0.0),
    ],
)
def test_one_run(m: int, r: int, v: int, expected: float) -> None:
    assert one_run(canaries=m, guesses=r, correct=v) == pytest.approx(expected, abs=0.006)


def test_one_run_rises_with_right_guesses_and_falls_with_delta() -> None:
    bounds = [one_run(canaries=100, guesses=60, correct=v) for v in range(61)]
    assert (np.diff(bounds) >= 0).all()
    by_delta = [
        one_run(canaries=100, guesses=50, correct=45, delta=d) for d in (0, 1e-5, 1e-3, 1e-2)
    ]
    assert (np.diff(by_delta) < 0).all()
    closed = np.log(0.05 ** (1 / 30) / (1 - 0.05 ** (1 / 30)))
    assert one_run(canaries=30, guesses=30, correct=30) == pytest.approx(closed, abs=1e-6)
    with pytest.raises(EvaluationError):
        one_run(canaries=10, guesses=11, correct=5)


def test_the_delta_term_by_hand() -> None:
    """m = 10, r = 2, v = 1, epsilon = 0: P[1 > Bin(2, 1/2) >= 0] = 1/4, times 2 m delta."""
    found = one_run_p_value(canaries=10, guesses=2, correct=1, epsilon=0.0, delta=0.01)
    assert found == pytest.approx(0.75 + 2 * 10 * 0.01 * 0.25)


def test_guessing_at_random_shows_no_epsilon() -> None:
    correct = np.random.default_rng(0).binomial(50, 0.5, 400)
    assert (
        np.mean([one_run(canaries=100, guesses=50, correct=int(v)) == 0 for v in correct]) >= 0.95
    )


@pytest.mark.parametrize(("hits", "of"), [(0, 7), (3, 20), (20, 20), (156, 156)])
def test_clopper_pearson_equals_scipys(hits: int, of: int) -> None:
    expected = binomtest(hits, of).proportion_ci(0.95, "exact")
    assert clopper_pearson(hits, of) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_false_positive_among_156_still_allows_a_rate() -> None:
    point = tpr_at_fpr(np.ones(5), np.zeros(156), 0.0)
    assert point.fpr_interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 156)))
    assert point.fpr_interval[1] == pytest.approx(0.023, abs=0.001)


def test_tpr_at_its_edges() -> None:
    others = np.arange(20.0)
    assert tpr_at_fpr(others + 100, others, 0.0).tpr == 1
    assert tpr_at_fpr(np.ones(9), np.ones(20), 0.5).tpr == 0  # constant scores accuse nobody
    assert tpr_at_fpr(np.ones(9), np.ones(20), 1.0).tpr == 1
    point = tpr_at_fpr(
        np.array([17.5, 18.5, 19.5, 3.0]), others, 0.1
    )  # 2 of 20 may be wrong: threshold 17
    assert (point.true_positives, point.false_positives, point.members, point.never_seen) == (
        3,
        2,
        4,
        20,
    )
    assert not point.stable
    assert tpr_at_fpr(others, np.arange(100.0), 0.1).stable
    assert smallest_fpr(20) == 0.05
    with pytest.raises(EvaluationError, match="cannot be seen with 20 patients"):
        tpr_at_fpr(others, others, 0.01)
    with pytest.raises(EvaluationError, match="at least one patient"):
        tpr_at_fpr(others[:0], others, 0.1)


def test_rate_asked_for_is_never_exceeded() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        members, others = (
            rng.integers(0, 6, 15).astype(float),
            rng.integers(0, 6, 40).astype(float),
        )  # many ties
        for rate in (0.0, 0.05, 0.1, 0.33):
            assert tpr_at_fpr(members, others, rate).false_positives <= rate * 40


def test_tpr_of_a_gaussian_shift() -> None:
    rng = np.random.default_rng(2)
    point = tpr_at_fpr(rng.normal(1, 1, 100_000), rng.normal(size=100_000), 0.01)
    assert point.tpr == pytest.approx(gaussian_tpr(1.0, 0.01), abs=0.005)
