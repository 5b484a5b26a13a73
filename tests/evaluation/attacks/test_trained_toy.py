"""Attacks on models that were really trained: kernel classifiers of random labels, with and without memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forgetmi.audit.decision import decide
from forgetmi.audit.forget_draw import forget_draw
from forgetmi.audit.rule import Rule
from forgetmi.core import registry
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Pool
from forgetmi.evaluation.attacks.base import AttackResult
from forgetmi.evaluation.attacks.run import run_attack

PATIENTS, IMAGES, CLASSES, SHADOWS = 200, 2, 4, 32
SETS = {"forget": (0, 60), "retain": (60, 120), "validation": (120, 124), "holdout": (124, 200)}


def trained_toy(width: float) -> AdversaryKnowledge:
    """Each model votes with its training images, weighted by a Gaussian kernel: narrow = it knows them by heart."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(PATIENTS), IMAGES)
    x, label = rng.normal(size=(len(patient), 20)), rng.integers(0, CLASSES, len(patient))
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(2) / (2 * width**2))
    code = np.arange(PATIENTS)

    def model(name: str, members: np.ndarray, seed: int) -> Signals:
        weight = members[patient] * np.random.default_rng(seed).uniform(
            0.5, 1.5, len(patient)
        )  # a seed of its own
        votes = kernel @ (weight[:, None] * np.eye(CLASSES)[label])
        logits = np.log(votes / max(votes.sum(1).mean(), 1e-9) + 0.05)
        return Signals.image_text(
            model=name,
            cohort="toy",
            row=np.arange(len(patient)),
            patient=patient.astype(str),
            study=np.arange(len(patient)).astype(str),
            label=label,
            image_logits=logits,
            text_logits=logits,
        )

    rows = {
        name: np.flatnonzero((patient >= low) & (patient < high))
        for name, (low, high) in SETS.items()
    }
    retain, everyone = (code >= 60) & (code < 120), code < 120
    masks = np.argsort(np.argsort(rng.random((SHADOWS, PATIENTS)), axis=0), axis=0) < SHADOWS // 2
    signals = {"original": model("o", everyone, 1)}
    signals |= {f"retrain-{r}": model(f"r{r}", retain, 10 + r) for r in range(4)}
    return AdversaryKnowledge(
        Partition(patient=patient, group=patient, cohort="toy", **rows),
        signals,
        target="original",
        shadows=Pool(
            tuple(model(f"s{at}", mask, 100 + at) for at, mask in enumerate(masks)),
            masks,
            np.zeros_like(masks),
        ),
    )


@pytest.fixture(scope="module")
def by_heart() -> AdversaryKnowledge:
    return trained_toy(width=1.0)


@pytest.fixture(scope="module")
def without_memory() -> AdversaryKnowledge:
    return trained_toy(width=100.0)


@pytest.mark.parametrize("name", ["population", "rmia", "lira_online", "lira_offline"])
def test_memory_is_found_in_the_original_alone(
    name: str, by_heart: AdversaryKnowledge, without_memory: AdversaryKnowledge
) -> None:
    def attack(knowledge: AdversaryKnowledge) -> AttackResult:
        found = run_attack(registry.attacks.get(name)(), knowledge)
        assert isinstance(found, AttackResult), found
        return found

    original = attack(by_heart)
    assert original.output.value > 0.95
    assert len(original.reference) == 4
    assert max(abs(value - 0.5) for value in original.reference) < 0.15
    for knowledge in (by_heart.with_target("retrain-0"), without_memory):
        low, high = attack(knowledge).output.interval or (1.0, 0.0)
        assert low < 0.5 < high


def test_the_verdict_on_identity_and_on_retraining(
    by_heart: AdversaryKnowledge, without_memory: AdversaryKnowledge
) -> None:
    rule = Rule(channels=("image",), resamples=500)

    def outcome(knowledge: AdversaryKnowledge) -> str:
        return decide(rule, {"image": [forget_draw(replace(knowledge, channel="image"))]}).outcome

    assert outcome(by_heart) == "NOT FORGOTTEN"
    assert outcome(by_heart.with_target("retrain-0")) in ("FORGOTTEN", "NOT RESOLVABLE")
    assert outcome(without_memory) == "NOT RESOLVABLE"  # there was nothing to forget
