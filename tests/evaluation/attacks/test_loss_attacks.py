"""SCRUB's attack, MIA-efficacy and entropy, tug-of-war, relearn time and the linear probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import log_softmax

from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.efficacy import (
    FEATURES,
    entropy,
    feature,
    member_fraction,
    modified_entropy,
)
from forgetmi.evaluation.attacks.probe import folds, linear_probe
from forgetmi.evaluation.attacks.relearn import Epochs, epochs_until, relearn_ratio
from forgetmi.evaluation.attacks.relearn_area import RelearnArea, excess_area
from forgetmi.evaluation.attacks.scrub_attack import StratifiedGroupKFold, scrub_attack
from forgetmi.evaluation.attacks.tow import average_gap, prediction_change, tug_of_war
from tests.evaluation.attacks.closed_forms import assert_exchangeable, aucs, gaussian_auc

Make = Callable[..., AdversaryKnowledge]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def patients(count: int, images: int) -> np.ndarray:
    return np.repeat(np.arange(count), images)


def scrub(forget: np.ndarray, never_seen: np.ndarray, images: int = 4, **options: object) -> float:
    return scrub_attack(
        forget=forget,
        never_seen=never_seen,
        forget_patient=patients(len(forget) // images, images),
        never_seen_patient=patients(len(never_seen) // images, images),
        seed=0,
        **options,
    )  # type: ignore[arg-type]


def test_scrubs_attack_on_disjoint_and_on_exchangeable_losses() -> None:
    assert scrub(rng().uniform(0, 1, 80), rng(1).uniform(5, 6, 120)) == 1.0
    found = [
        scrub(rng(2 * s).exponential(size=200), rng(2 * s + 1).exponential(size=200))
        for s in range(20)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=1.96 * 0.5 / np.sqrt(400 * len(found)) * 1.5)
    assert np.mean(np.abs(np.array(found) - 0.5) < 1.96 * 0.5 / np.sqrt(400)) >= 0.8


def test_scrubs_attack_finds_deviations_to_both_sides() -> None:
    """Forgotten losses far below or far above: the published feature cannot separate them with one threshold."""
    forget = np.where(rng().random(200) < 0.5, 0.0, 10.0) + rng(1).normal(0, 0.2, 200)
    never_seen = rng(2).normal(5, 0.2, 200)
    assert scrub(forget, never_seen, two_sided=False) < 0.8
    assert scrub(forget, never_seen) > 0.95


def test_scrubs_folds_hold_whole_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Watched(StratifiedGroupKFold):
        def split(self, X, y=None, groups=None):
            for train, test in super().split(X, y, groups):
                seen.append((set(groups[train]), set(groups[test])))
                yield train, test

    monkeypatch.setattr("forgetmi.evaluation.attacks.scrub_attack.StratifiedGroupKFold", Watched)
    scrub(rng().random(60), rng(1).random(100))
    assert len(seen) == 5
    assert all(train and test and not train & test for train, test in seen)
    with pytest.raises(EvaluationError, match="fewer than 5 patients are forgotten"):
        scrub(rng().random(16), rng(1).random(100))


def predictions(n: int, boost: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    label = rng(seed).integers(0, 4, n)
    return log_softmax(rng(seed + 1).normal(size=(n, 4)) + boost * np.eye(4)[label], axis=1), label


@pytest.mark.parametrize(
    ("name", "classifier"),
    [*((name, "svm") for name in FEATURES), ("confidence", "logistic"), ("entropy", "logistic")],
)
def test_member_fraction_of_remembered_and_of_never_seen(name: str, classifier: str) -> None:
    inside, outside, like_inside, like_outside = (
        feature(name, *predictions(n, boost, seed))  # type: ignore[arg-type]
        for n, boost, seed in ((600, 12, 0), (200, 0, 2), (200, 12, 4), (200, 0, 6))
    )
    sides = {"retain": inside, "never_seen": outside, "seed": 0, "classifier": classifier}
    remembered = member_fraction(queries=like_inside, **sides)  # type: ignore[arg-type]
    assert remembered > 0.95
    assert member_fraction(queries=like_outside, **sides) < (0.5 if name == "correctness" else 0.35)  # type: ignore[arg-type]


def test_members_named_at_random_are_not_found() -> None:
    values = feature("confidence", *predictions(400, 1, 0))
    found = []
    for seed in range(12):
        named = rng(seed).permutation(values)
        flagged = [
            member_fraction(
                retain=named[:100],
                never_seen=named[100:200],
                queries=queries,
                classifier="svm",
                seed=0,
            )
            for queries in (named[200:300], named[300:])
        ]
        found.append(flagged[0] - flagged[1])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))


def test_sides_are_needed() -> None:
    with pytest.raises(EvaluationError, match="no labelled images"):
        member_fraction(
            retain=np.ones((3, 1)),
            never_seen=np.ones((0, 1)),
            queries=np.ones((2, 1)),
            classifier="svm",
            seed=0,
        )


def test_entropies_by_hand() -> None:
    log_p = np.log([[0.7, 0.2, 0.1]])
    assert entropy(log_p)[0] == pytest.approx(
        -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1))
    )
    expected = -0.3 * np.log(0.7) - 0.2 * np.log(0.8) - 0.1 * np.log(0.9)
    assert modified_entropy(log_p, np.array([0]))[0] == pytest.approx(expected)
    assert modified_entropy(log_p, np.array([2]))[0] == pytest.approx(
        -0.9 * np.log(0.1) - 0.7 * np.log(0.3) - 0.2 * np.log(0.8)
    )


def test_modified_entropy_falls_with_the_true_classs_probability() -> None:
    p = np.linspace(0.01, 0.99, 99)
    found = modified_entropy(
        np.log(np.column_stack([p, (1 - p) / 2, (1 - p) / 2])), np.zeros(99, np.int64)
    )
    assert (np.diff(found) < 0).all()
    sure = log_softmax(np.array([[800.0, 0, 0], [0, 800.0, 0]]), axis=1)
    assert np.isfinite(modified_entropy(sure, np.array([0, 0]))).all()


def test_tug_of_war() -> None:
    one, two = np.array([0.9, 0.8, 0.7]), np.array([0.6, 0.9, 0.7])
    assert tug_of_war(one, one) == 1
    assert tug_of_war(one, two) == tug_of_war(two, one) == pytest.approx(0.7 * 0.9 * 1)
    assert average_gap(one, two) == pytest.approx(0.4 / 3)
    assert prediction_change(np.array([[1, 0], [0, 1.0]]), np.array([[1, 0], [1.0, 0]])) == 0.5


def test_relearn_time() -> None:
    losses = np.array([2.0, 1.0, 0.5, 0.2])
    assert epochs_until(losses, 2.0) == Epochs(0, False)  # the original itself
    assert epochs_until(losses, 0.5) == Epochs(2, False)
    assert epochs_until(losses, 0.1) == Epochs(3, True)
    assert relearn_ratio(Epochs(4, False), [Epochs(3, False), Epochs(5, False)]).value == 1
    quick = relearn_ratio(Epochs(1, False), [Epochs(4, False)])
    assert (quick.value, quick.bound) == (0.25, "")
    assert relearn_ratio(Epochs(20, True), [Epochs(4, False)]).bound == "at least"
    assert relearn_ratio(Epochs(4, False), [Epochs(20, True), Epochs(8, False)]).bound == "at most"
    for own, others in (
        (Epochs(20, True), [Epochs(20, True)]),
        (Epochs(2, False), [Epochs(0, False)]),
        (Epochs(2, False), []),
    ):
        with pytest.raises(EvaluationError):
            relearn_ratio(own, others)


def test_area_under_relearning() -> None:
    epochs = np.arange(11.0)
    assert excess_area(3 - 0.3 * epochs, 0.0) == pytest.approx(3 * 10 / 2)  # a triangle
    assert excess_area(np.full(11, 2.0), 0.5) == pytest.approx(1.5 * 10)  # never learnt
    assert excess_area(np.full(11, 0.1), 0.5) == 0  # below the original's loss

    # Many curves at once, each against its own threshold; an obviously right loop
    losses, thresholds = rng(0).random((5, 7)) * 2, rng(1).random(5)
    slow = []
    for curve, threshold in zip(losses, thresholds, strict=True):
        above = [max(loss - threshold, 0) for loss in curve]
        slow.append(sum((left + right) / 2 for left, right in pairwise(above)))
    assert excess_area(losses, thresholds) == pytest.approx(slow)


def test_area_under_relearning_grows_as_less_is_remembered(make_evidence: Make) -> None:
    found = [RelearnArea().apply(make_evidence(kept, runs=8)) for kept in (1.0, 0.5, 0.0)]
    remembered, partly, nothing = (one.value for one in found)
    assert remembered < 0.05 < partly < 0.6 < nothing < 1.4
    for one in found:
        assert one.interval is not None
        assert one.interval[0] <= one.value <= one.interval[1]
    low, high = found[-1].interval or (0, 0)
    assert low < 1 < high

    # Where the original has no memory of those who are not taught, the others are measured all the same
    evidence = make_evidence(0.5, runs=8)
    assert "transfer" in RelearnArea().apply(evidence).details
    known = RelearnArea().apply(familiar_without_teaching(evidence))
    assert known.value == pytest.approx(RelearnArea().apply(evidence).value)
    assert "transfer" not in known.details

    # A retrained model against the others, and none to compare with
    evidence = make_evidence(0.0, runs=8)
    assert RelearnArea().apply(evidence.with_target("retrain-1")).counts["retrained models"] == 2
    alone = {"unlearned": evidence.relearning["unlearned"]}  # type: ignore[index]
    with pytest.raises(EvaluationError, match="no retrained model was relearnt"):
        RelearnArea().apply(replace(evidence, relearning=alone))


def familiar_without_teaching(evidence: AdversaryKnowledge) -> AdversaryKnowledge:
    """Retrained models make of the patients who are not taught what the original does."""
    relearning = dict(evidence.relearning or {})
    partition, original = evidence.partition, evidence.signals["original"]
    for name in filter(evidence.is_other_retrain, relearning):
        curve = []
        for signals in relearning[name].signals:
            watched = ~np.isin(partition.patient[signals.row], relearning[name].taught)
            logits = {head: values.copy() for head, values in signals.logits.items()}
            for head, values in original.select(signals.row).logits.items():
                logits[head][watched] = values[watched]
            curve.append(replace(signals, logits=logits))
        relearning[name] = replace(relearning[name], signals=tuple(curve))
    return replace(evidence, relearning=relearning)


def test_probe_on_exchangeable_and_on_shifted_embeddings() -> None:
    draws, f, m = 1000, 15, 30
    member, fold = np.arange(f + m) < f, folds(f, m, seed=0)
    assert np.unique(fold[:f], return_counts=True)[1].tolist() == [3] * 5
    data = rng(3).normal(size=(draws, f + m, 3))
    scores = np.stack([linear_probe(one, member, fold) for one in data])
    assert_exchangeable(aucs(scores[:, :f], scores[:, f:]))
    member, fold = np.arange(2000) < 1000, folds(1000, 1000, seed=0)
    score = linear_probe(
        rng(4).normal(size=(2000, 3)) + member[:, None] * [1.0, 0, 0], member, fold
    )
    assert aucs(score[None, :1000], score[None, 1000:])[0] == pytest.approx(
        gaussian_auc(1.0), abs=0.03
    )
    far = linear_probe(
        rng(5).normal(size=(45, 3)) + 6 * (np.arange(45) < 15)[:, None],
        np.arange(45) < 15,
        folds(15, 30, seed=1),
    )
    assert aucs(far[None, :15], far[None, 15:])[0] > 0.95


def test_probe_equals_ridge_regression_where_sides_are_equal() -> None:
    from sklearn.linear_model import Ridge

    x, member = rng(6).normal(size=(40, 4)), np.arange(40) % 2 == 0
    fold = np.repeat([0, 1], 20)
    score = linear_probe(x, member, fold)
    train, test = fold == 1, fold == 0
    z = (x - x[train].mean(0)) / x[train].std(0)
    z = z - (z[train & member].mean(0) + z[train & ~member].mean(0)) / 2
    ridge = Ridge(alpha=4.0, fit_intercept=False).fit(z[train], np.where(member, 1.0, -1.0)[train])
    expected = ridge.predict(z[test])
    np.testing.assert_allclose(score[test], expected - expected[~member[test]].mean(), atol=1e-9)
    with pytest.raises(EvaluationError, match="more patients"):
        linear_probe(x, np.arange(40) < 1, fold)
