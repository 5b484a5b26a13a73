"""The population attack: are forgotten patients more confidently classified than never-seen ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import compare


@dataclass(frozen=True)
class Population:
    """Each patient's mean signal, nothing fitted (Yeom et al. 2018, with the logit margin of Carlini et al. 2022).

    The attack everyone can run: it needs no other model. Deviation: the unit is the patient.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> Population().apply(toy_knowledge(memory=1.0)).value
        1.0
        >>> Population().apply(toy_knowledge(memory=0.0)).interval[0] < 0.5
        True
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="population",
        title="Population attack",
        source="Yeom et al., CSF 2018",
        measures="AUC of forgotten against never-seen patients",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset(),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        # The mean signal of each patient
        members = knowledge.signal(knowledge.audited, "forget")
        never_seen = knowledge.signal(knowledge.audited, "holdout")
        return compare(members, never_seen, seed=knowledge.seed)
