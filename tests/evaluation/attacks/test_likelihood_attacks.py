"""LiRA, U-LiRA and RULI against closed forms, the exchangeable null and their limit identities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.attacks.gaussian import fit
from forgetmi.evaluation.attacks.lira import offline, online, patient_auc
from forgetmi.evaluation.attacks.ruli import bandwidth, log_kernel_density
from forgetmi.evaluation.attacks.tpr import tpr_at_fpr
from forgetmi.evaluation.attacks.u_lira import leave_one_out, membership_probability, u_lira
from tests.evaluation.attacks.closed_forms import (
    assert_exchangeable,
    aucs,
    gaussian_auc,
    gaussian_tpr,
)


def halves(models: int, records: int, rng: np.random.Generator) -> np.ndarray:
    return np.argsort(np.argsort(rng.random((models, records)), axis=0), axis=0) < models // 2


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_gaussian_shift_gives_the_closed_form(shift: float) -> None:
    """Records differ in level, which every per-record attack must remove."""
    rng = np.random.default_rng(0)
    models, n = 128, 2000
    inside, level = halves(models, 2 * n, rng), rng.normal(0, 3, 2 * n)
    stack = level + rng.normal(size=inside.shape) + shift * inside
    target = level + rng.normal(size=2 * n) + shift * (np.arange(2 * n) < n)
    for scores in (
        online(target, stack, inside, common=True),
        offline(target, stack, ~inside, common=True),
        u_lira(target, stack, forgotten=inside, never_trained=~inside, common=True),
    ):
        auc = aucs(scores[None, :n], scores[None, n:])[0]
        assert auc == pytest.approx(
            gaussian_auc(shift), abs=0.03
        )  # the fitted centres' noise costs a little
        if shift == 1.0:
            assert tpr_at_fpr(scores[:n], scores[n:], 0.01).tpr == pytest.approx(
                gaussian_tpr(1.0, 0.01), abs=0.03
            )
    assert gaussian_tpr(1.0, 0.01) == pytest.approx(0.092, abs=0.001)


def test_exchangeable_patients_give_one_half() -> None:
    rng = np.random.default_rng(1)
    draws, f, m, models = 1000, 16, 40, 16
    p = draws * (f + m)
    inside, level = halves(models, p, rng), rng.normal(0, 2, p)
    stack, target = level + rng.normal(size=inside.shape) + inside, level + rng.normal(size=p)
    third = np.argsort(np.argsort(rng.random((models, p)), axis=0), axis=0) % 3
    forgotten, never = third == 1, third == 2
    for scores in (
        online(target, stack, inside),
        offline(target, stack, ~inside),
        u_lira(target, stack, forgotten=forgotten, never_trained=never),
        log_kernel_density(target, stack, forgotten) - log_kernel_density(target, stack, never),
    ):
        table = scores.reshape(draws, f + m)
        assert_exchangeable(aucs(table[:, :f], table[:, f:]), (f, m))


def test_offline_score_rises_with_the_signal_and_is_the_papers_probability() -> None:
    rng = np.random.default_rng(2)
    stack = np.repeat(rng.normal(size=(32, 1)), 50, axis=1)
    outside = np.ones(stack.shape, bool)
    target = np.linspace(-30, 30, 50)
    scores = offline(target, stack, outside, common=False)
    assert (np.diff(scores) > 0).all()  # where the probability itself has long been 1
    expected = norm.cdf(target, np.median(stack[:, 0]), stack[:, 0].std(ddof=1))
    np.testing.assert_allclose(norm.cdf(scores), expected, atol=1e-12)


def test_spread_is_each_records_own_or_common() -> None:
    rng = np.random.default_rng(3)
    scale = np.array([1.0, 5.0])
    stack = rng.normal(size=(4000, 2)) * scale + [100, -100]
    everyone = np.ones(stack.shape, bool)
    np.testing.assert_allclose(fit(stack, everyone)[1], scale, rtol=0.05)
    np.testing.assert_allclose(
        fit(stack, everyone, common=True)[1], np.sqrt((scale**2).mean()), rtol=0.05
    )
    np.testing.assert_allclose(
        fit(stack[:20], everyone[:20])[1], fit(stack[:20], everyone[:20], common=True)[1]
    )
    with pytest.raises(EvaluationError, match="fewer than two models"):
        fit(stack[:3], np.array([[True, True], [False, True], [False, True]]))
    with pytest.raises(EvaluationError, match="does not scatter"):
        fit(np.ones((4, 2)), np.ones((4, 2), bool))


def test_augmentations_are_averaged() -> None:
    rng = np.random.default_rng(4)
    inside = halves(20, 6, rng)
    stack, target = rng.normal(size=(20, 6, 2)), rng.normal(size=(6, 2))
    each = [online(target[..., a], stack[..., a], inside, common=False) for a in (0, 1)]
    np.testing.assert_allclose(online(target, stack, inside, common=False), np.mean(each, axis=0))


def test_risk_of_single_patients() -> None:
    rng = np.random.default_rng(5)
    inside = halves(4000, 3, rng)
    stack = rng.normal(size=inside.shape) + inside * [0.0, 1.0, 8.0]
    auc, error = patient_auc(stack, inside)
    np.testing.assert_allclose(auc, [0.5, gaussian_auc(1.0), 1.0], atol=0.02)
    assert error[0] == pytest.approx(
        np.sqrt(4001 / (12 * 2000**2)), rel=0.01
    )  # the null's standard error
    assert error[2] < 1e-3


def test_unlearning_that_does_nothing_makes_u_lira_lira() -> None:
    rng = np.random.default_rng(6)
    inside = halves(32, 200, rng)
    stack, target = rng.normal(size=inside.shape) + inside, rng.normal(size=200)
    found = u_lira(target, stack, forgotten=inside, never_trained=~inside)
    np.testing.assert_array_equal(found, online(target, stack, inside))
    assert ((membership_probability(found) > 0.5) == (found > 0)).all()


def test_leave_one_out_calibrates_u_lira() -> None:
    """Unlearning equal to retraining gives 0.5; with many runs, leaving one out changes nothing."""
    rng = np.random.default_rng(7)
    role = np.argsort(np.argsort(rng.random((30, 250)), axis=0), axis=0) % 3
    forgotten, never = role == 1, role == 2
    stack = rng.normal(size=role.shape)
    scores = leave_one_out(stack, forgotten=forgotten, never_trained=never)
    assert (np.isnan(scores) == (role == 0)).all()
    assert aucs(scores[forgotten][None], scores[never][None])[0] == pytest.approx(0.5, abs=0.025)
    biased = np.stack(
        [u_lira(row, stack, forgotten=forgotten, never_trained=never) for row in stack]
    )
    assert (
        aucs(biased[forgotten][None], biased[never][None])[0] > 0.55
    )  # what scoring the fitted models would claim
    many = rng.normal(size=(150, 5)) + (halved := halves(150, 5, rng))
    apart = leave_one_out(many, forgotten=halved, never_trained=~halved)
    together = np.stack(
        [u_lira(row, many, forgotten=halved, never_trained=~halved) for row in many]
    )
    assert np.median(np.abs(apart - together)) < 0.04


def test_kernels_follow_the_signals_scale() -> None:
    rng = np.random.default_rng(8)
    stack, chosen = rng.normal(size=(60, 4)), np.ones((60, 4), bool)
    np.testing.assert_allclose(bandwidth(1000 * stack, chosen), 1000 * bandwidth(stack, chosen))
    one = log_kernel_density(np.zeros(4), stack, chosen)
    np.testing.assert_allclose(
        log_kernel_density(np.zeros(4), 1000 * stack, chosen), one - np.log(1000)
    )
    grid = np.linspace(-8, 8, 201)
    density = np.exp([log_kernel_density(np.full(4, at), stack, chosen) for at in grid])
    np.testing.assert_allclose(np.trapezoid(density, grid, axis=0), 1, atol=1e-3)
    few = log_kernel_density(np.zeros(4), stack[:29], chosen[:29])  # normal where models are few
    centre, spread = fit(stack[:29], chosen[:29])
    np.testing.assert_allclose(few, norm.logpdf(0, centre, spread))
