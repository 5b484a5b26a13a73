"""Ignorance verifiers: does a model answer about the forgotten like models that cannot know them?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.partition import SetName
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import compare


@dataclass(frozen=True)
class Ignorance:
    """Are forgotten patients' predictions further from an ignorant model's than never-seen patients' are?

    An ignorant model (a verifier) was trained on a small part of the retained patients alone. A patient's score is the
    mean symmetric divergence between the attacked model and each verifier; 0.5 = as far on the forgotten as on people
    whom neither knows. Above it the model is surer of the forgotten than ignorance allows; below it, nearer to
    everybody's answer, as memory of a value is, whose error it makes smaller. Use it where no model can be retrained:
    three verifiers on 15 % of the retained cost less than half a retraining. The task pairs has no predictions to
    compare.

    The details hold the paper's own measure where the labels are classes: how often the most probable class is a
    verifier's, on the forgotten and on never-seen patients, and of the original on the forgotten.

    Source: Ye et al., arXiv 2606.16110 (agreement with a model trained on 15 % of the remaining data, of the unlearned
    and of the original model). Deviations: never-seen patients say which agreement ignorance has, in place of a
    threshold; the divergence, which is finer than agreement and defined for findings and values, too; several models,
    with disjoint patients; they are not refined.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> round(Ignorance().apply(toy_knowledge(memory=1.0)).value, 1)
        1.0
        >>> low, high = Ignorance().apply(toy_knowledge(memory=0.0)).interval
        >>> low < 0.5 < high
        True
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="ignorance",
        title="Ignorance verifiers",
        source="Ye et al., 2026, arXiv 2606.16110",
        measures="AUC of forgotten against never-seen patients by distance from ignorant models",
        direction="apart",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset({"original", "verifiers"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        members = _distance(knowledge, "forget")
        never_seen = _distance(knowledge, "holdout")
        output = compare(members, never_seen, seed=knowledge.seed)

        # How often the most probable class is the same
        details = dict(output.details)
        if knowledge.measures.one_class:
            original = knowledge.signals["original"]
            details["agreement_forget"] = _agreement(knowledge, knowledge.audited, "forget")
            details["agreement_holdout"] = _agreement(knowledge, knowledge.audited, "holdout")
            details["original_agreement_forget"] = _agreement(knowledge, original, "forget")

        counts = {**output.counts, "verifiers": len(knowledge.verifiers)}
        return replace(output, counts=counts, details=details)


def _distance(knowledge: AdversaryKnowledge, on: SetName) -> Floats:
    """Float[p]: mean divergence of each patient's predictions from those of every verifier."""
    own = knowledge.predictions(knowledge.audited, on)
    distances = [
        knowledge.measures.divergence(own, knowledge.predictions(verifier, on))
        for verifier in knowledge.verifiers
    ]
    return knowledge.patients(on).mean(np.mean(distances, axis=0))


def _agreement(knowledge: AdversaryKnowledge, model: Signals, on: SetName) -> float:
    """Share of a set's images, mean over patients and verifiers, whose most probable class is a verifier's."""
    own = knowledge.predictions(model, on).argmax(1)
    same = [own == knowledge.predictions(one, on).argmax(1) for one in knowledge.verifiers]
    return float(knowledge.patients(on).mean(np.mean(same, axis=0)).mean())
