"""A made-up audit, small enough to try an attack on within a moment: for examples and for writing a new attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Pool, Relearning, Repeats

SIZES = {"forget": 12, "retain": 24, "validation": 2, "holdout": 20}
IMAGES = 2  # of each patient
CLASSES = 3
STRENGTH = 6.0  # added to the true class's logit of a remembered patient
POOL = 12  # shadow models, and repeated models of each kind


def toy_knowledge(memory: float = 1.0) -> AdversaryKnowledge:
    """Everything an attack may need, about models whose memory is known.

    Args:
        memory: How much the unlearned model still remembers of the forgotten patients, 0 (as if retrained) to 1 (as
            the original).

    Returns:
        Knowledge with an original, an unlearned and two retrained models, shadow models, repeats, relearning and
        canaries. The same for every call with the same memory.

    Examples:
        >>> knowledge = toy_knowledge()
        >>> sorted(knowledge.signals)
        ['original', 'retrain-0', 'retrain-1', 'unlearned']
        >>> knowledge.signal(knowledge.audited, "forget").shape
        (12,)
    """
    toy = _Toy(np.random.default_rng(0), np.repeat(list(SIZES), list(SIZES.values())))
    forget, retain = toy.is_in("forget"), toy.is_in("retain")

    # What each model remembers of each patient, 0..1
    unlearned = forget * memory + retain
    signals = {
        "original": toy.model(forget + retain),
        "unlearned": toy.model(unlearned),
        "retrain-0": toy.model(retain),
        "retrain-1": toy.model(retain),
    }
    repeats = Repeats(
        unlearned=tuple(toy.model(unlearned) for _ in range(POOL)),
        retrained=tuple(toy.model(retain) for _ in range(POOL)),
    )

    # The retrained models need three epochs to reach the original's loss.
    curves = {
        "unlearned": [memory, 0.3 + 0.7 * memory, 0.7 + 0.3 * memory, 1.2],
        "retrain-0": [0.0, 0.3, 0.7, 1.2],
        "retrain-1": [0.0, 0.3, 0.7, 1.2],
    }
    relearning = {name: toy.relearning(forget, retain, curve) for name, curve in curves.items()}

    # Forgotten patients are the canaries that were trained on, never-seen ones those that were not.
    canaries = np.where(forget > 0, 1, np.where(toy.is_in("holdout") > 0, 0, -1))
    return AdversaryKnowledge(
        partition=toy.partition(),
        signals=signals,
        shadows=toy.shadows(),
        unlearned_shadows=toy.unlearned_shadows(memory),
        repeats=repeats,
        relearning=relearning,
        verifiers=tuple(toy.model(0 * retain) for _ in range(3)),
        canaries=canaries,
    )


@dataclass(frozen=True, eq=False)
class _Toy:
    """Patients, and models that remember some of them.

    Args:
        rng: Draws everything, in order.
        kind: Str[c], the set of each patient.
    """

    rng: np.random.Generator
    kind: np.ndarray

    @property
    def owner(self) -> Ints:
        """Int[n], the patient of each image."""
        return np.repeat(np.arange(len(self.kind)), IMAGES)

    def is_in(self, name: str) -> Floats:
        """Float[c]: 1 for the patients of a set, 0 for the others."""
        return (self.kind == name).astype(np.float64)

    def partition(self) -> Partition:
        def rows(name: str) -> Ints:
            return np.flatnonzero((self.kind == name)[self.owner])

        return Partition(
            forget=rows("forget"),
            retain=rows("retain"),
            validation=rows("validation"),
            holdout=rows("holdout"),
            patient=self.owner,
            group=self.owner,
            cohort="toy",
        )

    def model(self, remembered: Floats) -> Signals:
        """A model that remembers the patients so much, Float[c] 0..1."""
        owner = self.owner
        label = owner % CLASSES
        true_class = np.eye(CLASSES)[label]

        # Memory raises the true class's logit, and turns the embeddings of image and report in one direction.
        seen = STRENGTH * remembered[owner][:, None]
        image_logits = self.rng.normal(size=true_class.shape) + (1 + seen) * true_class
        text_logits = self.rng.normal(size=true_class.shape) + (1 + seen) * true_class
        own = np.random.default_rng(1).normal(size=(len(owner), 4))
        image_embedding = self.rng.normal(size=own.shape) + seen * own
        text_embedding = self.rng.normal(size=own.shape) + seen * own

        return Signals.image_text(
            model=f"model {self.rng.integers(2**62)}",
            cohort="toy",
            row=np.arange(len(owner)),
            patient=owner.astype(str),
            study=np.arange(len(owner)).astype(str),
            label=label,
            image_logits=image_logits,
            text_logits=text_logits,
            image_embedding=image_embedding.astype(np.float32),
            text_embedding=text_embedding.astype(np.float32),
            joint_embedding=(image_embedding + seen).astype(np.float32),
        )

    def shadows(self) -> Pool:
        """Models of random halves of the patients; each patient is in half of the models."""
        inside = self._order() < POOL // 2
        models = tuple(self.model(row.astype(np.float64)) for row in inside)
        return Pool(models, inside, forgotten=np.zeros_like(inside))

    def unlearned_shadows(self, memory: float) -> Pool:
        """Models that each trained on two thirds of the patients, then forgot half of these."""
        role = self._order() % 3
        inside, forgotten = role == 1, role == 2
        models = tuple(self.model(row) for row in inside + memory * forgotten)
        return Pool(models, inside, forgotten)

    def relearning(self, forget: Floats, retain: Floats, curve: Sequence[float]) -> Relearning:
        """A model that remembers the forgotten so much before the first epoch and after each."""
        signals = tuple(self.model(forget * memory + retain) for memory in curve)
        taught = np.flatnonzero(forget)[::2]
        return Relearning(signals, taught)

    def _order(self) -> Ints:
        """Int[POOL, c]: for each patient, the models in a random order."""
        noise = self.rng.random((POOL, len(self.kind)))
        return np.argsort(np.argsort(noise, axis=0), axis=0)
