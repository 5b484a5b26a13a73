"""U-LiRA, LiRA against unlearning (Hayes et al., "Inexact Unlearning Needs More Careful Evaluations to Avoid a False
Sense of Privacy", SaTML 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from forgetmi.core.arrays import Floats
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.attacks.gaussian import fit, log_density

PER_SIDE = 16


def u_lira(
    target: Floats,
    stack: Floats,
    *,
    forgotten: np.ndarray,
    never_trained: np.ndarray,
    common: bool | None = None,
) -> Floats:
    """Log-likelihood ratio of "trained on, then unlearned" against "never trained on", per record.

    Args:
        target: Float[p], signal under the attacked model.
        stack: Float[m, p], under m shadow models unlearned by the same method with the same options.
        forgotten, never_trained: Bool[m, p], what the record was to each; where neither, it was retained.
        common: See `forgetmi.evaluation.attacks.gaussian.fit`.

    Returns:
        Float[p]; `membership_probability` of it is the paper's score, above 0 means "unlearned".
    """
    unlearned, out = (
        log_density(target, *fit(stack, chosen, common=common))
        for chosen in (forgotten, never_trained)
    )
    return unlearned - out


def membership_probability(log_ratio: Floats) -> Floats:
    """Density under "unlearned" as a share of both densities, 0..1."""
    return expit(log_ratio)


def leave_one_out(stack: Floats, *, forgotten: np.ndarray, never_trained: np.ndarray) -> Floats:
    """Every shadow model attacked with the distributions fitted on the others; the method's calibration.

    Scoring models on the distributions they were fitted with, as one published script does, flatters the attack.
    Leaving out one model alone would do the reverse, since its side's fit then rests on fewer models than the other's:
    the next model of the other side is left out with it.

    Returns:
        Float[m, p], NaN where the record was retained; its AUC of forgotten against never-trained entries is 0.5 when
        unlearning equals retraining.
    """
    scores = np.full_like(stack, np.nan)
    records = np.arange(stack.shape[1])
    for run in range(len(stack)):
        kept = {}
        for name, own, other in (
            ("forgotten", forgotten, never_trained),
            ("never_trained", never_trained, forgotten),
        ):
            kept[name] = own.copy()
            kept[name][run] = False
            partner = (np.roll(own, -run - 1, axis=0).argmax(0) + run + 1) % len(stack)
            kept[name][partner[other[run]], records[other[run]]] = False
        asked = forgotten[run] | never_trained[run]
        scores[run, asked] = u_lira(stack[run], stack, **kept)[asked]
    return scores


@dataclass(frozen=True)
class ULira:
    """U-LiRA with the patient as the record; 64 or more shadow trainings, each unlearned for several forget sets."""

    info: ClassVar[AttackInfo] = AttackInfo(
        name="u_lira",
        title="U-LiRA",
        source="Hayes et al., SaTML 2025",
        measures="AUC of forgotten against never-seen patients",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset({"unlearned shadows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        found = knowledge.pooled("unlearned shadows")
        scores = u_lira(
            found.target, found.stack, forgotten=found.forgotten, never_trained=found.never_trained
        )
        least = int(min(found.forgotten.sum(0).min(), found.never_trained.sum(0).min()))
        few = f"; at least {PER_SIDE} are wanted" if least < PER_SIDE else ""
        return compare(
            *found.split(scores),
            seed=knowledge.seed,
            note=f"at least {least} shadow models on each side of every patient{few}",
        )
