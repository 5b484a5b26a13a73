"""U-LiRA, LiRA against unlearning (Hayes et al., "Inexact Unlearning Needs More Careful Evaluations to Avoid a False
Sense of Privacy", SaTML 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from forgetmi.core.arrays import Floats
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.attacks.gaussian import fit, log_density

PER_SIDE = 16  # shadow models wanted on each side of every patient


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

    Examples:
        >>> stack = np.array([[4.0], [6.0], [0.0], [2.0]])
        >>> forgotten = np.array([[True], [True], [False], [False]])
        >>> u_lira(np.array([5.0]), stack, forgotten=forgotten, never_trained=~forgotten)
        array([4.])
    """
    unlearned = log_density(target, *fit(stack, forgotten, common=common))
    out = log_density(target, *fit(stack, never_trained, common=common))
    return unlearned - out


def membership_probability(log_ratio: Floats) -> Floats:
    """Density under "unlearned" as a share of both densities, 0..1.

    Examples:
        >>> membership_probability(np.array([0.0, 4.0])).round(3)
        array([0.5  , 0.982])
    """
    return expit(log_ratio)


def leave_one_out(stack: Floats, *, forgotten: np.ndarray, never_trained: np.ndarray) -> Floats:
    """Every shadow model attacked with the distributions fitted on the others; the method's calibration.

    Scoring models on the distributions they were fitted with, as one published script does, flatters the attack.
    Leaving out one model alone would do the reverse, since its side's fit then rests on fewer models than the other's:
    the next model of the other side is left out with it.

    Args:
        stack, forgotten, never_trained: As in `u_lira`.

    Returns:
        Float[m, p], NaN where the record was retained; its AUC of forgotten against never-trained entries is 0.5 when
        unlearning equals retraining.

    Examples:
        >>> stack = np.array([[5.0], [6.0], [7.0], [0.0], [1.0], [2.0]])
        >>> forgotten = np.array([[True], [True], [True], [False], [False], [False]])
        >>> scores = leave_one_out(stack, forgotten=forgotten, never_trained=~forgotten)
        >>> (scores[:, 0] > 0).tolist()
        [True, True, True, False, False, False]
    """
    scores = np.full_like(stack, np.nan)
    for model in range(len(stack)):
        # Records that were retained by this model get no score.
        has_side = forgotten[model] | never_trained[model]
        ratio = u_lira(
            stack[model],
            stack,
            forgotten=_without(model, forgotten, never_trained),
            never_trained=_without(model, never_trained, forgotten),
        )
        scores[model, has_side] = ratio[has_side]
    return scores


def _without(model: int, side: np.ndarray, other_side: np.ndarray) -> np.ndarray:
    """A side's mask without one model, and without a partner where that model is on the other side."""
    remaining = side.copy()
    remaining[model] = False

    # The partner of a record is the next model of this side, counted from the model on.
    models = len(side)
    steps = np.roll(side, -model - 1, axis=0).argmax(0)
    partner = (steps + model + 1) % models

    records = np.arange(side.shape[1])
    is_other = other_side[model]
    remaining[partner[is_other], records[is_other]] = False
    return remaining


@dataclass(frozen=True)
class ULira:
    """U-LiRA with the patient as the record; 64 or more shadow trainings, each unlearned for several forget sets.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> ULira().apply(toy_knowledge(memory=1.0)).value
        1.0
    """

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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        shadows = knowledge.shadow_signals("unlearned shadows")
        scores = u_lira(
            shadows.target,
            shadows.stack,
            forgotten=shadows.forgotten,
            never_trained=shadows.never_trained,
        )

        # The side of a patient with the fewest models decides how far the result is to be trusted.
        forgotten, never_trained = shadows.forgotten.sum(0), shadows.never_trained.sum(0)
        least = int(min(forgotten.min(), never_trained.min()))
        few = f"; at least {PER_SIDE} are wanted" if least < PER_SIDE else ""
        note = f"at least {least} shadow models on each side of every patient{few}"

        members, never_seen = shadows.split(scores)
        return compare(members, never_seen, seed=knowledge.seed, note=note)
