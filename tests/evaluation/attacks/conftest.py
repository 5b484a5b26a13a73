"""A toy audit: models whose logits are raised on patients they remember, with every kind of evidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Pool, Relearning, Repeats

CLASSES = 4
SIZES = {"forget": 16, "retain": 40, "validation": 4, "holdout": 40, "reference": 0}


class Toy:
    """Patients with their images, and models of them."""

    def __init__(
        self, *, seed: int = 0, images: int = 3, sizes: dict[str, int] | None = None
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.sizes = {**SIZES, **(sizes or {})}
        self.patients = sum(self.sizes.values())
        self.patient = np.repeat(np.arange(self.patients), images)
        self.kind = np.repeat(list(self.sizes), list(self.sizes.values()))
        self.label = self.rng.integers(0, CLASSES, len(self.patient))
        self.study = np.array([f"{p}-{at % images // 2}" for at, p in enumerate(self.patient)])
        self.feature = (
            np.eye(CLASSES)[self.label]
            + self.rng.normal(0, 0.5, (self.patients, CLASSES))[self.patient]
        )
        # What a model that remembers a sample makes of it, the same for every model
        self.own = np.random.default_rng([seed, 1]).normal(0, 1, (len(self.patient), 8))
        self.rows = np.arange(len(self.patient))
        self.models = 0

    def of(self, *kinds: str) -> np.ndarray:
        return np.isin(self.kind, kinds)

    def model(self, remembered: np.ndarray, strength: float = 6.0) -> Signals:
        """A model that remembers some patients (Bool or Float by patient)."""
        self.models += 1
        seen = (np.asarray(remembered, float) * strength)[self.patient][:, None]
        target, n = np.eye(CLASSES)[self.label], len(self.patient)
        noise = [self.rng.normal(0, 0.5, (self.patients, CLASSES))[self.patient] for _ in range(2)]
        _, *noisy = (self.rng.normal(0, 1, (n, 8)) for _ in range(3))
        embedding = [one + seen * self.own for one in noisy]
        joint = self.rng.normal(0, 1, (n, 8)) + seen
        return Signals.image_text(
            model=f"m{self.models}",
            cohort="toy",
            row=self.rows,
            patient=np.array([f"p{p}" for p in self.patient]),
            study=self.study,
            label=self.label,
            image_logits=self.feature + noise[0] + seen * target,
            text_logits=self.feature + noise[1] + seen * target,
            image_embedding=embedding[0].astype(np.float32),
            text_embedding=embedding[1].astype(np.float32),
            joint_embedding=joint.astype(np.float32),
        )

    def partition(self) -> Partition:
        sets = {name: np.flatnonzero(self.kind[self.patient] == name) for name in self.sizes}
        return Partition(patient=self.patient, group=self.patient, cohort="toy", **sets)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_evidence() -> Callable[..., AdversaryKnowledge]:
    """Makes evidence; `kept` = how much the unlearned model still remembers (1 = everything, 0 = retrained)."""

    def make(
        kept: float = 0.0,
        *,
        seed: int = 0,
        runs: int = 40,
        everything: bool = True,
        retrains: int = 3,
        sizes: dict[str, int] | None = None,
        strength: float = 6.0,
    ) -> AdversaryKnowledge:
        toy = Toy(seed=seed, sizes=sizes)
        forget, retain = toy.of("forget"), toy.of("retain")
        signals = {
            "original": toy.model(forget | retain, strength),
            "unlearned": toy.model(forget * kept + retain, strength),
        }
        signals |= {f"retrain-{r}": toy.model(retain, strength) for r in range(retrains)}
        if not everything:
            return AdversaryKnowledge(toy.partition(), signals)

        def rank() -> np.ndarray:  # every patient is in each role equally often
            return np.argsort(np.argsort(toy.rng.random((runs, toy.patients)), axis=0), axis=0)

        plain, role = rank() < runs // 2, rank() % 3
        trained, forgotten = role > 0, role == 1
        nothing = np.zeros_like(plain)
        repeats = Repeats(
            tuple(toy.model(forget * kept + retain, strength) for _ in range(runs)),
            tuple(toy.model(retain, strength) for _ in range(runs)),
        )
        epochs = {"unlearned": [kept, 0.5 + kept / 2, 1.05, 1.2]}
        epochs |= {f"retrain-{r}": [0.0, 0.4, 0.7, 1.2] for r in range(retrains)}
        return AdversaryKnowledge(
            toy.partition(),
            signals,
            shadows=Pool(tuple(toy.model(row, strength) for row in plain), plain, nothing),
            unlearned_shadows=Pool(
                tuple(
                    toy.model((row & ~gone) + kept * gone, strength)
                    for row, gone in zip(trained, forgotten, strict=True)
                ),
                trained & ~forgotten,
                forgotten,
            ),
            repeats=repeats,
            canaries=np.where(forget, 1, np.where(toy.of("holdout"), 0, -1)),
            relearning={
                name: Relearning(
                    tuple(toy.model(forget * share + retain, strength) for share in shares),
                    np.flatnonzero(forget)[::2],
                )
                for name, shares in epochs.items()
            },
            verifiers=tuple(toy.model(0 * retain, strength) for _ in range(3)),
        )

    return make
