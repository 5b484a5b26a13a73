"""Forget-MI's own attack, balanced and per image (arXiv 2506.23145); for comparison only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.membership import sample_mia
from forgetmi.evaluation.statistics import once


@dataclass(frozen=True)
class SvmLoss:
    """Share of forgotten images that `forgetmi.evaluation.membership.sample_mia` takes for members.

    Its target is the rate for never-seen patients (in the details), neither 0 nor 0.5.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="svm_loss",
        title="SVM loss attack",
        source="Hardan et al. (Forget-MI), 2025",
        measures="share of forgotten images taken for members",
        direction="higher",
        reference="retrained",
        forgotten=None,
        needs=frozenset({"retain rows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        losses = {
            on: knowledge.loss(knowledge.audited, on) for on in ("forget", "holdout", "retain")
        }
        owner = knowledge.partition.patient[knowledge.rows("holdout")]
        order = np.lexsort(
            (owner, losses["holdout"])
        )  # the attack's subsample must not depend on the records' order
        found = sample_mia(
            retain=np.sort(losses["retain"]),
            forget=losses["forget"],
            never_seen=losses["holdout"][order],
            patient=owner[order],
            seed=knowledge.seed,
        )
        counts = {
            "forgotten": losses["forget"],
            "never seen": losses["holdout"],
            "retained": losses["retain"],
        }
        return Found(
            value=float(found.flag_rate(once(len(losses["forget"])))[0]),
            unit="images",
            counts={name: len(values) for name, values in counts.items()},
            details={
                "never_seen_flag_rate": float(
                    found.never_seen_flag_rate(once(len(losses["holdout"])))[0]
                )
            },
            note="for comparison with published tables",
        )
