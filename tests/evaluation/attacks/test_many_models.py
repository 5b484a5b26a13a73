"""IAM, KLOM and forgetting quality at the values that simulation and definition give."""

from __future__ import annotations

import numpy as np
import pytest

from forgetmi.evaluation.attacks.forgetting_quality import (
    CAP,
    epsilon,
    final_score,
    forgetting_quality,
    points,
)
from forgetmi.evaluation.attacks.iam import iam, transform
from forgetmi.evaluation.attacks.klom import klom, null


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("unlearned", "expected"), [(0.4, 0.99), (0.6, 0.83), (0.8, 0.36), (0.9, 0.0)]
)
def test_iam_at_simulated_values(unlearned: float, expected: float) -> None:
    outside = rng().normal(0.4, 0.08, (64, 500))
    score = iam(
        unlearned=np.full(500, unlearned),
        original=np.full(500, 0.9),
        outside=outside,
        spread="record",
    )
    assert score.mean() == pytest.approx(expected, abs=0.01)


def test_iam_falls_as_the_signal_nears_the_originals() -> None:
    outside, levels = (
        np.repeat(rng().normal(0.4, 0.08, (3, 1)), 60, axis=1),
        np.linspace(0.2, 1.0, 60),
    )
    score = iam(unlearned=levels, original=np.full(60, 0.9), outside=outside)
    assert (np.diff(score) <= 1e-12).all()
    assert score[0] > 0.99
    assert np.all((score >= 0) & (score <= 1))
    single = iam(
        unlearned=levels, original=np.full(60, 0.9), outside=rng(1).normal(0.4, 0.08, (1, 60))
    )
    assert single[0] > single[-1]


def test_iams_signal_keeps_its_ends_and_order() -> None:
    found = transform(np.linspace(0, 1, 101))
    assert found[[0, -1]].tolist() == [0.0, 1.0]
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(("models", "bias"), [(32, 1.66), (100, 0.34), (500, 0.05)])
def test_klom_of_one_distribution_shows_its_bias_and_the_null_removes_it(
    models: int, bias: float
) -> None:
    one, two, three = rng(models).normal(size=(3, models, 400))
    assert klom(one, two).mean() == pytest.approx(bias, rel=0.08)
    both = np.concatenate([two, three])
    assert (klom(one, two) - null(both)).mean() == pytest.approx(0, abs=0.15 * bias)


def test_klom_of_identical_samples_is_zero_and_of_a_shift_near_its_divergence() -> None:
    one, two = rng().normal(size=(2, 500, 300))
    np.testing.assert_allclose(klom(one, one), 0, atol=1e-12)
    np.testing.assert_allclose(klom(np.ones((5, 2)), np.ones((5, 2))), 0)
    assert klom(one + 1, two).mean() == pytest.approx(0.63, abs=0.03)  # the true divergence is 0.5


def test_klom_against_a_histogram_per_record() -> None:
    unlearned, retrained = rng(1).normal(size=(2, 40, 5)) * [[[1.0]], [[2.0]]]
    unlearned[0, 0] = 1e9  # clipped
    for at, value in enumerate(klom(unlearned, retrained)):
        both = [np.clip(side[:, at], -100, 100) for side in (retrained, unlearned)]
        edges = np.linspace(min(map(np.min, both)), max(map(np.max, both)), 21)
        p, q = (np.histogram(side, edges)[0] / 40 for side in both)
        q = np.where(p > 0, np.maximum(q, 1e-5), q)
        q = q / q.sum()
        assert value == pytest.approx(
            sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0), rel=1e-6
        )


def test_epsilon_at_its_edges() -> None:
    same = np.full(20, 3.0)
    assert epsilon(same, same) == 0
    assert epsilon(same, same + 1) == CAP
    assert epsilon(same, rng().normal(size=20)) == CAP  # a point mass gives itself away
    spread = rng().normal(size=20)
    assert epsilon(spread, spread + 100) == CAP
    assert epsilon(spread, spread) < 1.5


def test_epsilon_against_every_rule_tried_one_by_one() -> None:
    def slow(u: np.ndarray, t: np.ndarray) -> float:
        positive, negative = (t, u) if np.median(t) > np.median(u) else (u, t)
        both = np.concatenate([u, t])
        rules = [
            ((positive < at).mean(), (negative >= at).mean())
            for at in np.linspace(both.min(), both.max(), int(np.ceil(np.ptp(both) * 100)))
        ]
        narrow, wide = (u, t) if np.ptp(u) < np.ptp(t) else (t, u)
        low, high = narrow.min() + np.ptp(narrow) - 2, narrow.max() + 2
        for right in np.linspace(low, high, int(np.ceil((high - low) * 100))):
            left = np.linspace(right - np.ptp(narrow) - 2, right - np.ptp(narrow) + 2, 400)[:, None]
            rules += zip(
                1 - ((narrow >= left) & (narrow <= right)).mean(1),
                ((wide >= left) & (wide <= right)).mean(1),
                strict=True,
            )
        kept = np.array([rule for rule in rules if min(rule) > 0 and sum(rule) < 1])
        return max(np.log((1 - 1e-5 - kept) / kept[:, ::-1]).max(), 0)

    u, t = rng(5).normal(size=(2, 12)) * 0.3
    assert epsilon(u, t) == pytest.approx(slow(u, t), abs=1e-9)


def test_forgetting_quality_between_its_bounds() -> None:
    one, two = rng(2).normal(size=(2, 64, 12))
    assert forgetting_quality(one, two + 100) == 0
    chance = forgetting_quality(one, two)
    assert 0.1 < chance < 0.35  # the null of two equal distributions: far from 1
    assert forgetting_quality(one, two + 2) < chance
    np.testing.assert_allclose(
        points(np.array([0.0, 0.49, 0.5, 1.2, 4.99, 5.0, CAP]), 64),
        [1, 1, 0.5, 0.25, 2.0**-9, 0, 0],
    )
    assert final_score(0.4, retain=(0.9, 1.0), test=(0.4, 0.8)) == pytest.approx(0.18)
