"""What the verdict is made from: one forget set seen through one channel, one number per patient and model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.partition import SetName
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import is_link


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
            models; None for a link, which predicts nothing, and for a task whose predictions are not right or wrong.
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
    """The attacked model of some evidence next to the original and the other retrained models.

    Raises:
        EvaluationError: The channel is undefined for some model.
    """
    # The forgotten patients first, then every set of never-seen ones
    sets: tuple[SetName, ...] = ("forget", *knowledge.never_seen)
    sides = [knowledge.patients(name) for name in sets]
    patients = sum(len(side) for side in sides)

    # Signals of the patients under every model
    unlearned = _signal(knowledge, knowledge.audited, sets)
    original = _signal(knowledge, knowledge.signals["original"], sets)
    retrained = [_signal(knowledge, model, sets) for model in knowledge.retrained]

    # A link predicts nothing; a value is not right or wrong
    correct = None
    if not is_link(knowledge.channel):
        models = (knowledge.audited, *knowledge.retrained)
        shares = [_correct(knowledge, model, sets) for model in models]
        known = [share for share in shares if share is not None]
        correct = np.stack(known) if len(known) == len(models) else None

    return ForgetDraw(
        patient=np.concatenate([side.code for side in sides]),
        members=len(sides[0]),
        studies=np.concatenate([side.studies for side in sides]),
        label=np.concatenate([side.label for side in sides]),
        unlearned=unlearned,
        original=original,
        retrained=np.array(retrained).reshape(len(retrained), patients),
        correct=correct,
    )


def _signal(knowledge: AdversaryKnowledge, model: Signals, sets: Sequence[SetName]) -> Floats:
    """Float[p], the channel's signal of each patient."""
    return np.concatenate([knowledge.signal(model, name) for name in sets])


def _correct(
    knowledge: AdversaryKnowledge, model: Signals, sets: Sequence[SetName]
) -> Floats | None:
    """Float[p], share of each patient's images that a model predicts right."""
    shares = []
    for name in sets:
        share = knowledge.share_correct(model, name)
        if share is None:
            return None
        shares.append(share)

    return np.concatenate(shares)
