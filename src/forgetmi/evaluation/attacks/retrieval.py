"""Retrieval of the own report: is a forgotten patient's report still found first?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import ASKED, AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.link import retrieval_rank


@dataclass(frozen=True)
class ReportRetrieval:
    """Rank of an image's own report among the reports of forgotten and never-seen patients, by cosine.

    Args:
        among: Reports to rank among, own included; 0 = all.
    """

    among: int = 0

    info: ClassVar[AttackInfo] = AttackInfo(
        name="report_retrieval",
        title="Report retrieval",
        source="retrieval test of Zhang et al. (ConVIRT), MLHC 2022",
        measures="AUC of forgotten against never-seen patients by the rank of their own report",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset(),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        if knowledge.channel != "link":
            raise EvaluationError(Fault("only the image-report link has reports to retrieve"))
        gallery = knowledge.gallery(knowledge.audited)
        ranks = {
            on: retrieval_rank(
                knowledge.audited.select(knowledge.rows(on)), gallery, among=self.among or None
            )
            for on in ASKED
        }
        means = {on: knowledge.patients(on).mean(ranks[on]) for on in ASKED}
        found = compare(-means["forget"], -means["holdout"], seed=knowledge.seed)
        return replace(
            found,
            details={
                **found.details,
                "reports": float(self.among or len(np.unique(gallery.study))),
                **{f"mean_rank_{on}": float(mean.mean()) for on, mean in means.items()},
                **{f"found_first_{on}": float((rank <= 1).mean()) for on, rank in ranks.items()},
            },
        )
