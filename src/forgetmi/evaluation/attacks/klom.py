"""KLOM, the divergence of margins (Georgiev et al., "Attribute-to-Delete: Machine Unlearning via Datamodel Matching",
2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import rel_entr

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput

BINS = 20
CLIP = 100.0  # margins beyond this count as this
FLOOR = 1e-5  # share of the unlearned models in a bin where there are none
USABLE = 50  # models a side


def klom(unlearned: Floats, retrained: Floats) -> Floats:
    """KL divergence of the retrained models' margins from the unlearned ones', per record, from histograms.

    20 equal bins over the pooled range of margins clipped to +-100; a bin without unlearned models counts 1e-5.
    Deviation: the largest margin belongs to the last bin (the published code drops it).

    Args:
        unlearned, retrained: Float[m, p], margins under equally many models.

    Returns:
        Float[p] in nats. Two samples of one distribution do not give 0: subtract `null`.

    Examples:
        Two models each, one record: their margins fall into different bins.

        >>> klom(np.array([[0.0], [1.0]]), np.array([[9.0], [10.0]])).round(2)
        array([10.82])
        >>> klom(np.array([[0.0], [10.0]]), np.array([[0.0], [10.0]]))
        array([0.])
    """
    # Bins over the range of both sides, record by record
    both = np.clip(np.stack([retrained, unlearned]), -CLIP, CLIP)
    low, high = both.min((0, 1)), both.max((0, 1))
    width = np.where(high > low, high - low, 1.0)
    place = np.minimum((BINS * (both - low) / width).astype(np.int64), BINS - 1)

    # Shares of the models in each bin, Float[p, BINS]
    p = _counts(place[0]) / len(retrained)
    q = _counts(place[1]) / len(unlearned)
    q = np.where(p > 0, np.maximum(q, FLOOR), q)
    return rel_entr(p, q / q.sum(1, keepdims=True)).sum(1)


def _counts(place: Ints) -> Ints:
    """Int[p, BINS]: how many models are in each bin of each record, from their bins Int[m, p]."""
    records = place.shape[1]
    cell = place + BINS * np.arange(records)
    return np.bincount(cell.ravel(), minlength=BINS * records).reshape(records, BINS)


def null(retrained: Floats) -> Floats:
    """KLOM of one half of the retrained models from the other half: what chance alone gives with that many models.

    Examples:
        >>> null(np.array([[0.0], [10.0], [0.0], [10.0]]))
        array([0.])
    """
    half = len(retrained) // 2
    return klom(retrained[:half], retrained[half : 2 * half])


@dataclass(frozen=True)
class Klom:
    """KLOM of the forgotten patients, less what retrained models show among themselves.

    Unlearned and null value both rest on half of the models, so that the small-sample bias is the same and cancels.
    Not usable below about 50 models a side.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> output = Klom().apply(toy_knowledge(memory=1.0))
        >>> round(output.value, 2)
        2.4
        >>> output.note
        '6 models a side; at least 50 are wanted'
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        unlearned, retrained = knowledge.repeated_signals("forget")
        half = min(len(unlearned), len(retrained)) // 2
        if half < 2:
            raise EvaluationError(
                Fault("KLOM needs at least four unlearned and four retrained models")
            )

        # Both divergences rest on equally many models.
        raw = klom(unlearned[:half], retrained[:half])
        chance = null(retrained[: 2 * half])

        few = f"; at least {USABLE} are wanted" if half < USABLE else ""
        return AttackOutput(
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
