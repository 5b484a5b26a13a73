"""The audit's relearning curves: losses of forgotten patients while some of them are taught again."""

from __future__ import annotations

import numpy as np

from forgetmi.audit.attack_rows import rounded
from forgetmi.audit.patient_scores import through
from forgetmi.audit.rows import RelearnCurve
from forgetmi.core.errors import EvaluationError
from forgetmi.core.model_names import ORIGINAL
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Relearning
from forgetmi.evaluation.attacks.relearn import epochs_until
from forgetmi.evaluation.signals import heads_of


def relearn_curves(knowledge: AdversaryKnowledge, draw: int) -> list[RelearnCurve]:
    """One curve per head and model that was relearnt.

    Args:
        knowledge: One forget set.
        draw: Which forget set.
    """
    curves = []
    heads = heads_of(knowledge.signals[ORIGINAL])
    for head, of_head in through(knowledge, heads).items():
        try:
            for model, relearning in (of_head.relearning or {}).items():
                curve = _curve(of_head, relearning, model=model, head=head, draw=draw)
                if curve is not None:
                    curves.append(curve)
        except EvaluationError:
            continue  # a head that diverged, or no labels; the relearn attack says so
    return curves


def _curve(
    knowledge: AdversaryKnowledge, relearning: Relearning, *, model: str, head: str, draw: int
) -> RelearnCurve | None:
    """Losses of one model; None where all patients, or none, were taught.

    Raises:
        EvaluationError: The losses are undefined.
    """
    patients = knowledge.patients("forget")
    is_taught = np.isin(patients.code, relearning.taught)
    if not is_taught.any() or is_taught.all():
        return None

    # Patient losses under the original (the threshold), before the first epoch and after each
    losses = []
    for signals in (knowledge.signals[ORIGINAL], *relearning.signals):
        losses.append(patients.mean(knowledge.loss(signals, "forget")))
    loss = np.stack(losses)

    # Mean over the patients taught again, and over those only watched
    taught = loss[:, is_taught].mean(1)
    watched = loss[:, ~is_taught].mean(1)

    # Epochs until the taught patients' loss is back at the original's
    reached = epochs_until(taught[1:], float(taught[0]))
    return RelearnCurve(
        draw=draw,
        model=model,
        head=head,
        taught=rounded(taught[1:]),
        watched=rounded(watched[1:]),
        taught_threshold=float(taught[0]),
        watched_threshold=float(watched[0]),
        epochs=reached.number,
        censored=reached.censored,
    )
