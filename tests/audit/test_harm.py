"""Harm to others and retained patients' risk: against obviously right computations, and on nothing at all."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from forgetmi.audit.harm import MetricDifference, accuracy_difference, utility_difference
from forgetmi.audit.retained import rise
from forgetmi.core.errors import EvaluationError
from forgetmi.core.signals import Signals
from forgetmi.evaluation.tasks import ClassMeasures


def model(seed: int, *, skill: float = 1.0, patients: int = 60) -> Signals:
    label = np.random.default_rng(0).integers(0, 3, 2 * patients)
    logits = np.random.default_rng(seed).normal(size=(2 * patients, 3)) + skill * np.eye(3)[label]
    name = np.repeat([f"p{at}" for at in range(patients)], 2)

    return Signals.image_text(
        model=str(seed),
        cohort="c",
        row=np.arange(len(label)),
        patient=name,
        study=name,
        label=label,
        image_logits=logits,
        text_logits=logits,
    )


PATIENT = np.repeat(np.arange(60), 2)


def test_differences_by_hand() -> None:
    unlearned, retrained = model(1, skill=0.5), [model(seed) for seed in (2, 3, 4)]
    options = {"patient": PATIENT, "seed": 0, "resamples": 300, "task": ClassMeasures()}

    def auc(model: Signals) -> float:
        p = np.exp(model.image_logits) / np.exp(model.image_logits).sum(1, keepdims=True)
        return float(np.mean([roc_auc_score(model.label == k, p[:, k]) for k in range(3)]))

    difference = utility_difference(unlearned, retrained, head="image", **options)

    assert difference.unlearned == pytest.approx(auc(unlearned))
    assert difference.value == pytest.approx(
        auc(unlearned) - np.mean([auc(model) for model in retrained])
    )
    assert difference.interval[0] < difference.value < difference.interval[1]

    right = accuracy_difference(unlearned, retrained, head="both", **options)

    assert right.unlearned == pytest.approx(
        (unlearned.image_logits.argmax(1) == unlearned.label).mean()
    )

    with pytest.raises(EvaluationError):
        utility_difference(unlearned, retrained[:1], head="image", **options)


@pytest.mark.parametrize(
    ("value", "interval", "p", "tests", "expected"),
    [
        (-0.2, (-0.3, -0.1), 0.001, 1, "harmed"),
        (-0.2, (-0.3, -0.1), 0.001, 50, "not resolvable"),
        (-0.04, (-0.06, -0.02), 0.001, 1, "not resolvable"),
        (0.0, (-0.04, 0.04), 0.5, 1, "within margin"),
        (-0.02, (-0.04, -0.01), 0.001, 1, "within margin"),
        (0.0, (-0.1, 0.1), 0.5, 1, "not resolvable"),
    ],
)
def test_outcomes(
    value: float, interval: tuple[float, float], p: float, tests: int, expected: str
) -> None:
    assert (
        MetricDifference(0.5 + value, 0.5, value, interval, p).outcome(0.05, tests=tests)
        == expected
    )


def test_nobody_rises_by_chance_and_a_few_who_do_are_found() -> None:
    flagged = []

    for seed in range(40):
        r = np.random.default_rng(seed)
        level = r.normal(size=(2, 100))
        retrained = level[:, None] + 0.5 * r.normal(size=(2, 3, 100))
        unlearned = (
            level + 0.5 * r.normal(size=(2, 100)) + 0.7
        )  # a shift that never-seen patients share
        options = {
            "retrained": retrained,
            "never_unlearned": np.full(2, 0.7),
            "never_retrained": np.zeros((2, 3)),
        }
        flagged.append(int((rise(unlearned=unlearned, **options).p_adjusted <= 0.05).sum()))
        unlearned[1, :20] += 6
        difference = rise(unlearned=unlearned, **options)
        assert (difference.p_adjusted[:20] <= 0.05).sum() >= 18
        assert (difference.channel[:20] == 1).all()
        assert difference.smallest_p == pytest.approx(1 / 301)

    assert np.mean([count > 0 for count in flagged]) < 0.15
