"""KLOM, the divergence of margins (Georgiev et al., "Attribute-to-Delete: Machine Unlearning via Datamodel Matching",
2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import rel_entr

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found

BINS, CLIP, FLOOR = 20, 100.0, 1e-5
USABLE = 50


def klom(unlearned: Floats, retrained: Floats) -> Floats:
    """KL divergence of the retrained models' margins from the unlearned ones', per record, from histograms.

    20 equal bins over the pooled range of margins clipped to +-100; a bin without unlearned models counts 1e-5.
    Deviation: the largest margin belongs to the last bin (the published code drops it).

    Args:
        unlearned, retrained: Float[m, p], margins under equally many models.

    Returns:
        Float[p] in nats. Two samples of one distribution do not give 0: subtract `null`.
    """
    both = np.clip(np.stack([retrained, unlearned]), -CLIP, CLIP)
    low, high = both.min((0, 1)), both.max((0, 1))
    width = np.where(high > low, high - low, 1.0)
    place = np.minimum((BINS * (both - low) / width).astype(np.int64), BINS - 1)
    records = both.shape[2]
    counts = np.stack(
        [
            np.bincount((one + BINS * np.arange(records)).ravel(), minlength=BINS * records)
            for one in place
        ]
    ).reshape(2, records, BINS)
    p, q = counts[0] / len(retrained), counts[1] / len(unlearned)
    q = np.where(p > 0, np.maximum(q, FLOOR), q)
    return rel_entr(p, q / q.sum(1, keepdims=True)).sum(1)


def null(retrained: Floats) -> Floats:
    """KLOM of one half of the retrained models from the other half: what chance alone gives with that many models."""
    half = len(retrained) // 2
    return klom(retrained[:half], retrained[half : 2 * half])


@dataclass(frozen=True)
class Klom:
    """KLOM of the forgotten patients, less what retrained models show among themselves.

    Unlearned and null value both rest on half of the models, so that the small-sample bias is the same and cancels.
    Not usable below about 50 models a side.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="klom",
        title="KLOM",
        source="Georgiev et al., 2024",
        measures="mean over forgotten patients of the KL divergence from retraining, less its null, in nats",
        direction="apart",
        reference="theory",
        forgotten=0.0,
        needs=frozenset({"repeats"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        unlearned, retrained = knowledge.repeated("forget")
        half = min(len(unlearned), len(retrained)) // 2
        if half < 2:
            raise EvaluationError(
                Fault("KLOM needs at least four unlearned and four retrained models")
            )
        raw, chance = klom(unlearned[:half], retrained[:half]), null(retrained[: 2 * half])
        few = f"; at least {USABLE} are wanted" if half < USABLE else ""
        return Found(
            value=float((raw - chance).mean()),
            counts={"forgotten": raw.size, "models a side": half},
            details={
                "raw": float(raw.mean()),
                "null": float(chance.mean()),
                "percentile_95": float(np.quantile(raw, 0.95)),
            },
            scores={"forgotten": raw},
            note=f"{half} models a side{few}",
        )
