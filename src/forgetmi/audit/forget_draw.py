"""What the verdict is made from: one forget set seen through one channel, one number per patient and model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge


@dataclass(frozen=True, eq=False, repr=False)
class ForgetDraw:
    """One forget set: the forgotten patients, then the never-seen ones (held out, and extra reference patients).

    Args:
        patient: Int[p], patient codes; the same patient has the same code in every draw.
        members: How many of the p are forgotten.
        studies, label: Int[p], for matching.
        unlearned, original: Float[p], patient signals under the two models.
        retrained: Float[r, p], under the models retrained without exactly these forgotten patients.
        correct: Float[1 + r, p], share of the patient's images predicted right, by the unlearned and the retrained
            models; None for the link, which predicts nothing.
    """

    patient: Ints
    members: int
    studies: Ints
    label: Ints
    unlearned: Floats
    original: Floats
    retrained: Floats
    correct: Floats | None = None


def forget_draw(knowledge: AdversaryKnowledge) -> ForgetDraw:
    """The attacked model of some evidence beside the original and the other retrained models.

    Raises:
        EvaluationError: The channel is undefined for some model.
    """
    sets = ("forget", *knowledge.never_seen)
    sides = [knowledge.patients(on) for on in sets]

    def signal(model: Signals) -> Floats:
        return np.concatenate([knowledge.signal(model, on) for on in sets])

    def correct(model: Signals) -> Floats:
        return np.concatenate(
            [
                knowledge.patients(on).mean(
                    knowledge.log_probabilities(model, on).argmax(1) == knowledge.label(on)
                )
                for on in sets
            ]
        )

    retrained = knowledge.retrained
    return ForgetDraw(
        patient=np.concatenate([side.code for side in sides]),
        members=len(sides[0]),
        studies=np.concatenate([side.studies for side in sides]),
        label=np.concatenate([side.label for side in sides]),
        unlearned=signal(knowledge.audited),
        original=signal(knowledge.signals["original"]),
        retrained=np.array([signal(model) for model in retrained]).reshape(
            len(retrained), sum(map(len, sides))
        ),
        correct=None
        if knowledge.channel == "link"
        else np.stack([correct(model) for model in (knowledge.audited, *retrained)]),
    )
