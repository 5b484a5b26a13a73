"""A toy run: models that memorise, retrained ones that did not, and one in between, as signals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals

CLASSES = 4
Run = tuple[dict[str, Signals], Partition]


def _digests(kind: str, numbers: np.ndarray, key: str) -> np.ndarray:
    return np.array(
        [hashlib.sha256(f"{key}{kind}{number}".encode()).hexdigest()[:16] for number in numbers]
    )


@pytest.fixture(scope="session")
def toy_run() -> Callable[..., Run]:
    """Makes (signals, partition); options: key, patients per set, images per patient, retrains, embeddings."""

    def make(
        *,
        key: str = "a",
        patients: Mapping[str, int] | None = None,
        images: int = 4,
        retrains: int = 3,
        seed: int = 0,
        embeddings: bool = True,
        unknown: int = 0,
    ) -> Run:
        sizes = {"forget": 10, "retain": 50, "validation": 5, "holdout": 30, **(patients or {})}
        patient = np.repeat(np.arange(sum(sizes.values())), images)
        kind = np.repeat(list(sizes), [count * images for count in sizes.values()])
        rng = np.random.default_rng(seed)
        n = len(patient)
        label = rng.integers(0, CLASSES, n)
        feature = np.eye(CLASSES)[label] + rng.normal(0, 0.6, (patient.max() + 1, CLASSES))[patient]
        stored = label.copy()
        stored[rng.permutation(n)[:unknown]] = -1

        def signals(name: str, trained: tuple[str, ...], strength: float) -> Signals:
            seen = np.isin(kind, trained)[:, None] * strength
            head = {}
            for branch in ("image", "text"):
                logits = feature + rng.normal(0, 1, (n, CLASSES)) + seen * np.eye(CLASSES)[label]
                embedding = None
                if embeddings:
                    embedding = (rng.normal(0, 1, (n, 6)) + seen).astype(np.float32)
                head |= {f"{branch}_logits": logits, f"{branch}_embedding": embedding}
            return Signals.image_text(
                model=name,
                cohort="toy",
                row=np.arange(n),
                patient=_digests("patient", patient, key),
                study=_digests("study", patient, key),
                label=stored,
                **head,
            )

        found = {
            "original": signals("o", ("forget", "retain"), 4.0),
            "unlearned": signals("u", ("retain",), 4.0),
        }
        found |= {f"retrain-{r}": signals(f"r{r}", ("retain",), 4.0) for r in range(retrains)}
        rows = {name: np.flatnonzero(kind == name) for name in sizes}
        return found, Partition(patient=patient, group=patient, cohort="toy", **rows)

    return make
