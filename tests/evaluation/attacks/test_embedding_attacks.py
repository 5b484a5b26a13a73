"""Attacks on embeddings, SMI and the representation residual: closed forms, slow computations, planted memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from forgetmi.core.errors import EvaluationError
from forgetmi.core.pooled_signals import PooledSignals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.probe import LinearProbe
from forgetmi.evaluation.attacks.representation_residual import (
    RepresentationResidual,
    debiased_cka,
    hsic,
    leading_directions,
    rotation,
    to_go_and_way,
)
from forgetmi.evaluation.attacks.smi import SHARES, Moments, Smi, never_seen_share
from forgetmi.evaluation.attacks.toy import toy_knowledge

Make = Callable[..., AdversaryKnowledge]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def with_moments(mean: float, variance: float) -> np.ndarray:
    """Two patients with exactly this mean and unbiased variance."""
    half = np.sqrt(variance / 2)
    return np.array([[mean - half], [mean + half]])


def share_of(mean: float, variance: float, retained: Moments, never_seen: Moments) -> tuple:
    both, alone = never_seen_share(
        with_moments(mean, variance), retained, never_seen, np.ones((1, 2))
    )
    return float(both[0]), float(alone[0])


@pytest.mark.parametrize("pi", [0.0, 0.2, 0.5, 0.7, 1.0])
def test_smi_finds_the_share_that_the_moments_of_a_mixture_have(pi: float) -> None:
    retained, never_seen = Moments.of(with_moments(0.0, 1.0)), Moments.of(with_moments(3.0, 4.0))
    # Mean pi x 3; variance of the mixture (1 - pi) x 1 + pi x 4 + pi (1 - pi) x 9
    variance = 1 + 3 * pi + 9 * pi * (1 - pi)
    both, alone = share_of(3 * pi, variance, retained, never_seen)
    assert both == pytest.approx(pi, abs=1e-3)
    # The variance alone has a second solution where it is above both groups'
    other = 12 / 9 - pi
    assert alone == pytest.approx(pi, abs=1e-3) or alone == pytest.approx(other, abs=1e-3)


def test_covariances_alone_cannot_tell_a_share_from_its_complement() -> None:
    retained, never_seen = Moments.of(with_moments(0.0, 1.0)), Moments.of(with_moments(2.0, 1.0))
    few, many = (share_of(2 * pi, 1 + 4 * pi * (1 - pi), retained, never_seen) for pi in (0.2, 0.8))
    assert few[1] == many[1]
    assert few[0] == pytest.approx(0.2, abs=1e-3)
    assert many[0] == pytest.approx(0.8, abs=1e-3)


def test_smi_of_all_resamples_is_what_each_gives_by_itself() -> None:
    generator = rng(1)
    forgotten, other = generator.normal(size=(9, 3)), generator.normal(size=(40, 3))
    retained, never_seen = Moments.of(2 * other[:25]), Moments.of(other[25:] + 0.3)
    weights = generator.multinomial(9, np.full(9, 1 / 9), size=20).astype(float)

    def slow(row: np.ndarray) -> tuple[float, float]:
        """Every share in turn, with the covariance of the drawn patients written out."""
        mean = row @ forgotten / 9
        centred = forgotten - mean
        covariance = (centred.T * row) @ centred / 9 * 9 / 8
        d, scale = never_seen.mean - retained.mean, np.trace(covariance)
        both, alone = [], []
        for pi in SHARES:
            mixture = pi * never_seen.covariance + (1 - pi) * retained.covariance
            mixture = mixture + pi * (1 - pi) * np.outer(d, d)
            distance = ((covariance - mixture) ** 2).sum()
            of_means = ((mean - retained.mean - pi * d) ** 2).sum()
            both.append(distance / scale**2 + of_means / scale)
            alone.append(distance)
        return SHARES[np.argmin(both)], SHARES[np.argmin(alone)]

    fast = np.stack(never_seen_share(forgotten, retained, never_seen, weights), axis=1)
    np.testing.assert_allclose(fast, [slow(row) for row in weights], atol=1.1e-3)


def test_smi_is_calibrated_on_planted_shares() -> None:
    """20 forgotten patients of a model that spreads what it knows twice as wide: 300 draws a share."""
    found = {}
    for planted in (0.0, 0.5, 1.0):
        values = []
        for number in range(300):
            generator = rng(number)
            retained, never_seen = generator.normal(size=(2, 80, 4))
            strangers = round(20 * planted)
            inside, outside = np.split(generator.normal(size=(20, 4)), [20 - strangers])
            forgotten = np.concatenate([2 * inside, outside])
            moments = Moments.of(2 * retained), Moments.of(never_seen)
            values.append(never_seen_share(forgotten, *moments, np.ones((1, 20)))[0][0])
        found[planted] = np.array(values)

    # False alarms at the null's own 5 % quantile, and power there
    limit = np.quantile(found[1.0], 0.05)
    assert limit > 0.6
    assert (found[0.0] < limit).mean() > 0.95
    assert (found[0.5] < limit).mean() > 0.5
    assert found[0.5].mean() == pytest.approx(0.5, abs=0.1)
    assert found[1.0].mean() > 0.9
    assert found[0.0].mean() < 0.25  # shares below 0 are cut off


def test_smi_follows_memory_and_says_what_it_cannot_measure(make_evidence: Make) -> None:
    def smi(kept: float, channel: str) -> float:
        values = []
        for seed in range(5):
            evidence = make_evidence(kept, seed=seed, everything=False)
            values.append(Smi().apply(replace(evidence, channel=channel)).value)
        return float(np.mean(values))

    for channel in ("image", "text", "both"):
        assert smi(1.0, channel) < 0.5 < smi(0.0, channel) - 0.2

    # A link's embeddings are the heads'; an ensemble has none, and a collapsed model no spread
    evidence = make_evidence(1.0, everything=False)
    with pytest.raises(EvaluationError, match="no embedding of its own"):
        Smi().apply(replace(evidence, channel="link"))

    def of(embedding: np.ndarray | None) -> AdversaryKnowledge:
        found = {} if embedding is None else {"image": embedding}
        changed = replace(evidence.audited, embedding=found)
        return replace(evidence, signals={**evidence.signals, "unlearned": changed})

    rows = len(evidence.audited)
    with pytest.raises(EvaluationError, match="no such embedding"):
        Smi().apply(of(None))
    with pytest.raises(EvaluationError, match="all embeddings are the same"):
        Smi().apply(of(np.ones((rows, 3), np.float32)))
    with pytest.raises(EvaluationError, match="not finite"):
        Smi().apply(of(np.full((rows, 3), np.nan, np.float32)))


def test_cka_is_unbiased_and_blind_to_rotation_and_scale() -> None:
    generator = rng(2)
    first, second = generator.normal(size=(2, 6, 4))
    turn = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    assert debiased_cka(first, 3 * first @ turn) == pytest.approx(1)

    # Every four different patients, as the estimate is defined
    k, other = first @ first.T, second @ second.T
    slow = np.mean(
        [
            k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
            for i, j, q, r in permutations(range(6), 4)
        ]
    )
    assert hsic(k, other) == pytest.approx(slow)

    # Unrelated embeddings of more dimensions than patients: 0 on average, where the plain estimate is near 1
    unrelated = [debiased_cka(*rng(at).normal(size=(2, 12, 64))) for at in range(200)]
    assert abs(np.mean(unrelated)) < 3 * np.std(unrelated) / np.sqrt(200) + 0.01
    with pytest.raises(EvaluationError, match="hardly varies"):
        debiased_cka(np.ones((6, 2)), first)


def test_leading_directions_are_the_fewest_with_half_of_the_energy() -> None:
    shift = np.diag([3.0, 2.0, 2.0, 1.0])  # energies 9, 4, 4, 1 of 18
    np.testing.assert_allclose(abs(leading_directions(shift)[:, 0]), [1, 0, 0, 0])
    assert leading_directions(np.eye(4)).shape == (4, 2)


def test_the_way_to_go_is_unbiased_over_every_chance_of_the_retrained_models() -> None:
    """Trainings that end at a place plus or minus an error: the mean over all of them is the place's own."""
    generator = rng(4)
    audited, original, place, error = generator.normal(size=(4, 5, 3))
    for count in (2, 3):
        every = [
            to_go_and_way(audited, original, [place + sign * error for sign in signs])
            for signs in product((-1, 1), repeat=count)
        ]
        to_go, way = np.mean(every, axis=0)
        np.testing.assert_allclose(to_go, ((audited - place) * (original - place)).sum(1))
        np.testing.assert_allclose(way, ((original - place) ** 2).sum(1))

    # A single one, and the mean of several in both factors, add the variance
    every = [to_go_and_way(audited, original, [place + sign * error]) for sign in (-1, 1)]
    added = (error**2).sum(1)
    np.testing.assert_allclose(np.mean(every, axis=0)[1], ((original - place) ** 2).sum(1) + added)

    # Pair by pair, as it is defined
    retrained = list(generator.normal(size=(4, 5, 3)))
    slow = np.mean(
        [((audited - one) * (original - two)).sum(1) for one, two in permutations(retrained, 2)],
        axis=0,
    )
    np.testing.assert_allclose(to_go_and_way(audited, original, retrained)[0], slow)
    assert to_go_and_way(original, original, retrained)[0] == pytest.approx(
        to_go_and_way(original, original, retrained)[1]
    )


def residual(evidence: AdversaryKnowledge, **signals: np.ndarray) -> float:
    """The value with some models' image embeddings replaced."""
    models = dict(evidence.signals)
    for name, embedding in signals.items():
        one = models[name.replace("_", "-")]
        models[name.replace("_", "-")] = replace(
            one, embedding={**one.embedding, "image": embedding}
        )
    return RepresentationResidual().apply(replace(evidence, signals=models)).value


def test_the_residual_is_the_way_still_to_go(make_evidence: Make) -> None:
    evidence = make_evidence(0.0, everything=False, retrains=1)
    original = evidence.signals["original"].embedding["image"].astype(float)
    generator = rng(3)
    forgotten = np.isin(np.arange(len(original)), evidence.partition.forget)[:, None]
    retrained = original + forgotten * generator.normal(1.0, 1.0, original.shape)
    turn = np.linalg.qr(generator.normal(size=(8, 8)))[0]

    for share in (1.0, 0.4, 0.0, -0.5):
        audited = retrained + share * (original - retrained)
        found = residual(evidence, unlearned=audited, retrain_0=retrained)
        assert found == pytest.approx(share, abs=1e-5)
        # Another training lies otherwise in space: retained patients say how
        turned = residual(evidence, unlearned=audited @ turn, retrain_0=retrained @ turn.T + 2)
        assert turned == pytest.approx(share, abs=1e-5)

    np.testing.assert_allclose(rotation(original, original @ turn + 5), turn, atol=1e-6)
    with pytest.raises(EvaluationError, match="retrained embeddings are the original's"):
        residual(evidence, unlearned=retrained, retrain_0=original)


def test_the_residual_is_calibrated_on_planted_memory(make_evidence: Make) -> None:
    """Retrained models against each other, and models that kept some of what the original knows."""
    by_memory = {
        kept: [
            RepresentationResidual().apply(make_evidence(kept, seed=seed, everything=False))
            for seed in range(20)
        ]
        for kept in (0.0, 0.3, 1.0)
    }
    values = {kept: np.array([one.value for one in found]) for kept, found in by_memory.items()}
    assert abs(values[0.0]).max() < 0.15  # no false alarm
    assert values[0.3].min() > values[0.0].max()
    assert values[1.0].min() > 0.8

    nulls = [
        RepresentationResidual()
        .apply(make_evidence(0.0, seed=seed, everything=False).with_target("retrain-1"))
        .value
        for seed in range(20)
    ]
    assert abs(np.array(nulls)).max() < 0.2
    alone = make_evidence(0.0, everything=False, retrains=1)
    assert "too high" in RepresentationResidual().apply(alone).note
    assert by_memory[0.0][0].note == ""
    for one in by_memory[1.0]:
        assert one.details["cka"] < one.details["cka_retained"]
        assert one.details["along_leading_directions"] > 0.4

    with pytest.raises(EvaluationError, match="no embedding of its own"):
        RepresentationResidual().apply(
            replace(make_evidence(1.0, everything=False), channel="link")
        )


@pytest.mark.parametrize("attack", [Smi(), RepresentationResidual(), LinearProbe()])
def test_rows_of_different_models_are_never_compared_in_one_space(attack: Any) -> None:
    """A reference out of a pool has rows of several models, whose embeddings lie in spaces of their own."""
    knowledge = toy_knowledge(memory=0.0)
    names = ("retrain-0", "retrain-1")
    members = [knowledge.signals[name] for name in names]
    speaks = np.arange(len(members[0])) % 2
    pooled = {name: PooledSignals.of(members, speaks) for name in names}
    evidence = replace(knowledge, signals={**knowledge.signals, **pooled})
    with pytest.raises(EvaluationError, match="several models"):
        attack.apply(evidence.with_target("retrain-0"))

    # Where one model speaks for all rows that are asked for, it is a model like any other
    whole = {name: PooledSignals.of(members, 0 * speaks) for name in names}
    evidence = replace(knowledge, signals={**knowledge.signals, **whole})
    assert np.isfinite(attack.apply(evidence.with_target("unlearned")).value)
