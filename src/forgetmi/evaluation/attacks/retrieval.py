"""Retrieval of the own report: is a forgotten patient's report still retrieved first?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import ATTACKED_SETS, AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.channels import is_link, linked
from forgetmi.evaluation.link import retrieval_rank


@dataclass(frozen=True)
class ReportRetrieval:
    """Rank of an image's own report among the reports of forgotten and never-seen patients, by cosine.

    Args:
        among: Reports to rank among, own included; 0 = all.

    Examples:
        >>> from dataclasses import replace
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> knowledge = replace(toy_knowledge(memory=1.0), channel="link")
        >>> output = ReportRetrieval().apply(knowledge)
        >>> output.details["mean_rank_forget"] < output.details["mean_rank_holdout"]
        True
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        if not is_link(knowledge.channel):
            raise EvaluationError(Fault("only the image-report link has reports to retrieve"))

        # All reports of forgotten and held-out patients
        gallery = knowledge.gallery(knowledge.audited)
        mean_ranks = {}
        shares_first = {}
        for set_name in ATTACKED_SETS:
            images = knowledge.audited.select(knowledge.rows(set_name))
            pair = linked(knowledge.channel, images)
            ranks = retrieval_rank(images, gallery, among=self.among or None, pair=pair)
            mean_ranks[set_name] = knowledge.patients(set_name).mean(ranks)
            shares_first[set_name] = float((ranks <= 1).mean())

        # A low rank looks like a member.
        output = compare(-mean_ranks["forget"], -mean_ranks["holdout"], seed=knowledge.seed)

        # Mean ranks, and the share of images whose report ranks first
        details = dict(output.details)
        details["reports"] = float(self.among or len(np.unique(gallery.study)))
        for set_name, means in mean_ranks.items():
            details[f"mean_rank_{set_name}"] = float(means.mean())
        for set_name, share in shares_first.items():
            details[f"found_first_{set_name}"] = share
        return replace(output, details=details)
