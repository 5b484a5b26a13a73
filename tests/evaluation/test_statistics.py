"""Weighted metrics against the same metric on data that really is repeated; coverage of the patient bootstrap."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr
from sklearn.metrics import roc_auc_score

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.statistics import (
    draws,
    interval,
    join,
    mean_defined,
    once,
    resample_patients,
    weighted_auc,
    weighted_mean,
    weighted_spearman,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.integers(0, 10_000), st.integers(4, 30), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_weighted_metrics_equal_those_of_repeated_data(seed: int, n: int, levels: int) -> None:
    r = rng(seed)
    score, other = (
        r.integers(0, levels, n).astype(float),
        r.integers(0, levels, n).astype(float),
    )  # many ties
    positive, weights = r.random(n) < 0.5, r.integers(0, 4, (5, n)).astype(float)
    auc, rho = weighted_auc(score, positive, weights), weighted_spearman(score, other, weights)
    mean = weighted_mean(score, weights)
    for b, weight in enumerate(weights.astype(int)):
        at = np.repeat(np.arange(n), weight)
        if len(np.unique(positive[at])) == 2:
            assert auc[b] == pytest.approx(roc_auc_score(positive[at], score[at]), abs=1e-12)
        else:
            assert np.isnan(auc[b])
        if len(np.unique(score[at])) > 1 and len(np.unique(other[at])) > 1:
            assert rho[b] == pytest.approx(spearmanr(score[at], other[at]).statistic, abs=1e-12)
        else:
            assert np.isnan(rho[b])
        assert mean[b] == pytest.approx(score[at].mean()) if len(at) else np.isnan(mean[b])


def test_a_resample_draws_whole_patients_and_element_zero_is_the_data() -> None:
    patient = np.array([7, 7, 3, 3, 3, 9])
    sample = resample_patients(patient, resamples=500, generator=rng())
    assert sample.multiplicity.shape == (501, 3)
    np.testing.assert_array_equal(sample.multiplicity[0], 1)
    np.testing.assert_array_equal(sample.multiplicity.sum(1), 3)
    assert np.abs(sample.multiplicity[1:].mean(0) - 1).max() < 0.15
    values = np.array([1.0, 1, 2, 2, 2, 6])
    found = draws(sample, lambda weights: weighted_mean(values, weights))
    assert found[0] == pytest.approx(values.mean())
    assert found[1:].min() == 1
    assert found[1:].max() == 6
    assert draws(
        sample.without_resamples(), lambda weights: weighted_mean(values, weights)
    ).shape == (1,)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    r = rng(1)
    sample = resample_patients(r.integers(0, 12, 60), resamples=100, generator=r)
    score, positive = r.normal(size=60), r.random(60) < 0.4
    whole = draws(sample, lambda weights: weighted_auc(score, positive, weights))
    monkeypatch.setattr("forgetmi.evaluation.statistics._BLOCK", 7 * 60)
    np.testing.assert_array_equal(
        draws(sample, lambda weights: weighted_auc(score, positive, weights)), whole
    )


def test_joined_samples_keep_their_own_patients() -> None:
    one = resample_patients(np.array([0, 0, 1]), resamples=50, generator=rng(1))
    two = resample_patients(np.array([0, 1, 1, 2]), resamples=50, generator=rng(2))
    both = join(one, two)
    expanded = both.multiplicity[:, both.patient]
    assert expanded.shape == (51, 7)
    np.testing.assert_array_equal(expanded[:, :3], one.multiplicity[:, one.patient])
    np.testing.assert_array_equal(expanded[:, 3:], two.multiplicity[:, two.patient])
    assert one.take(np.array([True, True, False])).patients == 1


def test_same_seed_same_resamples() -> None:
    patient = np.arange(20)
    one, two, three = (
        resample_patients(patient, resamples=30, generator=rng(s)).multiplicity for s in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


def test_drawing_some_resamples_at_a_time_is_drawing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forgetmi.evaluation.multiplicity._EARLIER", OrderedDict())
    monkeypatch.setattr("forgetmi.evaluation.multiplicity._AT_ONCE", 40)
    one, other = rng(8), rng(8)
    found = resample_patients(np.arange(12), resamples=50, generator=one).multiplicity
    expected = other.multinomial(12, np.full(12, 1 / 12), size=50)
    np.testing.assert_array_equal(found[1:], expected)
    assert found.dtype == np.uint8
    assert one.random() == other.random()

    # Drawn before: the same counts, and the generator as it would be
    again = rng(8)
    assert resample_patients(np.arange(12), resamples=50, generator=again).multiplicity is found
    assert again.bit_generator.state["state"] != rng(8).bit_generator.state["state"]


def test_identical_patients_give_zero_width() -> None:
    patient = np.repeat(np.arange(8), 4)
    values = np.tile([0.0, 1.0, 2.0, 5.0], 8)
    sample = resample_patients(patient, resamples=200, generator=rng())
    bounds, why = interval(
        draws(sample, lambda weights: weighted_mean(values, weights)), patients=8
    )
    assert bounds == pytest.approx((2.0, 2.0), abs=1e-12)
    assert why == ""


def test_no_interval_is_said_not_invented() -> None:
    assert interval(np.array([0.5]), patients=9) == (None, "no interval: not resampled")
    bounds, why = interval(np.full(101, 0.5), patients=1)
    assert bounds is None
    assert "single patient" in why
    some = np.linspace(0, 1, 101)
    some[1:7] = np.nan
    assert interval(some, patients=9) == (None, "no interval: undefined in 6% of the resamples")
    some[2:7] = 0.5
    bounds, why = interval(some, patients=9)
    assert bounds is not None
    assert np.isfinite(bounds).all()
    with pytest.raises(EvaluationError, match="no images"):
        draws(
            resample_patients(np.array([], np.int64), resamples=3, generator=rng()),
            lambda weights: weights,
        )


def test_means_leave_out_what_is_undefined() -> None:
    found = mean_defined(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]]))
    assert found[0] == 2
    assert np.isnan(found[1])
    assert weighted_mean(np.array([1.0, 2.0]), once(2))[0] == 1.5


@pytest.mark.parametrize(
    ("unit", "runs", "least", "most"), [("patient", 300, 0.90, 0.98), ("image", 100, 0.0, 0.85)]
)
def test_coverage_with_16_against_65_patients_whose_images_resemble_each_other(
    unit: str,
    runs: int,
    least: float,
    most: float,
) -> None:
    """Shift d between the sets: the true AUC is the normal distribution function at d / sqrt(2).

    Resampling patients covers it nearly as often as stated; resampling images, the common mistake, does not.
    """
    r, shift, hits = rng(3), 0.8, 0
    truth = norm.cdf(shift / np.sqrt(2))
    for _ in range(runs):
        patient = np.repeat(np.arange(81), r.integers(2, 7, 81))
        positive = patient < 16
        score = (
            np.sqrt(0.5) * (r.normal(size=81)[patient] + r.normal(size=len(patient)))
            + shift * positive
        )
        code = patient if unit == "patient" else np.arange(len(patient))
        sample = join(
            *(
                resample_patients(code[at], resamples=400, generator=r)
                for at in (positive, ~positive)
            )
        )
        found = draws(sample, lambda weights, s=score, p=positive: weighted_auc(s, p, weights))
        bounds, _ = interval(found, patients=16)
        assert bounds is not None
        hits += bounds[0] <= truth <= bounds[1]
    assert least <= hits / runs <= most
