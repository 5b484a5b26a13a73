"""The attack on toys whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.attacks.svm_loss import sample_mia
from forgetmi.evaluation.membership import membership_auc, split_patients
from forgetmi.evaluation.statistics import draws, interval, join, once, resample_patients


def test_memorised_patients_are_flagged_and_never_seen_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    retain, forget = rng.lognormal(-4, 0.5, 400), rng.lognormal(-4, 0.5, 80)
    unseen, patient = rng.lognormal(0.5, 0.5, 120), np.repeat(np.arange(30), 4)
    found = sample_mia(retain=retain, forget=forget, never_seen=unseen, patient=patient, seed=0)
    assert found.flag_rate(once(80))[0] > 0.95
    assert found.never_seen_flag_rate(once(120))[0] < 0.05
    assert found.sizes == (60, 60)


def test_forgotten_patients_like_unseen_ones_are_flagged_as_often() -> None:
    """Exchangeable null: the two rates differ by chance alone, and a paired interval covers 0."""
    rng, runs, differences, covered = np.random.default_rng(1), 120, [], 0
    for run in range(runs):
        patient = np.repeat(np.arange(56), rng.integers(2, 6, 56))  # 16 forgotten, 40 never seen
        losses = np.exp(0.7 * rng.normal(size=56)[patient] + 0.7 * rng.normal(size=len(patient)))
        forgotten = patient < 16
        found = sample_mia(
            retain=rng.lognormal(-1.5, 1, 300),
            forget=losses[forgotten],
            never_seen=losses[~forgotten],
            patient=patient[~forgotten],
            seed=run,
        )
        forget, test = (
            resample_patients(patient[side], resamples=200, generator=rng)
            for side in (forgotten, ~forgotten)
        )
        difference = draws(forget, found.flag_rate) - draws(test, found.never_seen_flag_rate)
        differences.append(difference[0])
        bounds, _ = interval(difference, patients=16)
        assert bounds is not None
        covered += bounds[0] <= 0 <= bounds[1]
    assert abs(np.mean(differences)) < 3 * np.std(differences) / np.sqrt(runs)
    assert covered / runs >= 0.87


def test_each_half_is_judged_by_the_attack_fitted_on_the_other() -> None:
    """Half of the patients look like members: an attack that has them among its non-members flags nobody."""
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(20), 5)
    half = split_patients(patient, seed=3)
    unseen = np.where(half == 0, rng.lognormal(-4, 0.1, 100), rng.lognormal(1, 0.1, 100))
    found = sample_mia(
        retain=rng.lognormal(-4, 0.1, 500),
        forget=np.full(5, np.exp(-4)),
        never_seen=unseen,
        patient=patient,
        seed=3,
    )
    assert (
        found.never_seen[half == 0].mean() == 1
    )  # judged by the attack whose non-members have large losses
    np.testing.assert_array_equal(found.half, half)
    assert set(np.unique(found.forget)) <= {0.0, 0.5, 1.0}


def test_patients_are_split_whole_by_seed() -> None:
    patient = np.repeat(np.arange(21), 3)
    half = split_patients(patient, seed=0)
    assert all(len(np.unique(half[patient == p])) == 1 for p in range(21))
    assert half[::3].sum() == 11
    np.testing.assert_array_equal(half, split_patients(patient, seed=0))
    assert (half != split_patients(patient, seed=1)).any()
    order = np.random.default_rng(0).permutation(63)
    np.testing.assert_array_equal(split_patients(patient[order], seed=0), half[order])


def test_sides_are_balanced_and_bounded() -> None:
    rng = np.random.default_rng(0)
    sides = {
        "forget": rng.lognormal(size=5),
        "never_seen": rng.lognormal(size=200),
        "patient": np.arange(200),
    }
    assert sample_mia(retain=rng.lognormal(size=30), **sides, seed=0).sizes == (30, 30)
    assert sample_mia(retain=rng.lognormal(size=900), **sides, seed=0).sizes == (100, 100)
    assert sample_mia(retain=rng.lognormal(size=900), **sides, seed=0, per_side=40).sizes == (
        40,
        40,
    )


def test_what_cannot_be_attacked_is_refused() -> None:
    ok = np.array([0.1, 0.2, 0.3, 0.4])
    two = np.array([0, 0, 1, 1])
    with pytest.raises(EvaluationError, match="two never-seen patients"):
        sample_mia(retain=ok, forget=ok, never_seen=ok, patient=np.zeros(4, np.int64), seed=0)
    with pytest.raises(EvaluationError, match="losses are equal"):
        sample_mia(retain=ok * 0 + 1, forget=ok, never_seen=ok * 0 + 1, patient=two, seed=0)
    with pytest.raises(EvaluationError, match="no labelled images in: retain, forget"):
        sample_mia(retain=ok[:0], forget=ok[:0], never_seen=ok, patient=two, seed=0)
    exact = sample_mia(
        retain=ok * 0, forget=ok, never_seen=ok, patient=two, seed=0
    )  # a loss of exactly 0
    assert np.isfinite(exact.flag_rate(once(4))[0])


def test_direction_of_the_threshold_free_attack() -> None:
    remembered, unseen = np.array([3.0, 2.0, 5.0]), np.array([1.0, 2.0])
    assert membership_auc(remembered, unseen, once(5))[0] == pytest.approx(5.5 / 6)
    assert membership_auc(unseen, remembered, once(5))[0] == pytest.approx(0.5 / 6)
    assert membership_auc(unseen, unseen, once(4))[0] == 0.5
    sample = join(
        *(
            resample_patients(np.arange(n), resamples=20, generator=np.random.default_rng(n))
            for n in (3, 2)
        )
    )
    assert draws(sample, lambda weights: membership_auc(remembered, unseen, weights)).shape == (21,)
