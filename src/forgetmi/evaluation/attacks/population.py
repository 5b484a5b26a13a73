"""The population attack: are forgotten patients more confidently classified than never-seen ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.attacks.compare import compare


@dataclass(frozen=True)
class Population:
    """Each patient's mean signal, nothing fitted (Yeom et al. 2018, with the logit margin of Carlini et al. 2022).

    The attack everyone can run: it needs no other model. Deviation: the unit is the patient.
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

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        return compare(
            knowledge.signal(knowledge.audited, "forget"),
            knowledge.signal(knowledge.audited, "holdout"),
            seed=knowledge.seed,
        )
