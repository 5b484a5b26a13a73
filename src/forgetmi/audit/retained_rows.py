"""The audit's table of retained patients: whose membership is easier to tell than after retraining."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.audit.patient_scores import KnowledgeByChannel
from forgetmi.audit.retained import rise
from forgetmi.audit.rows import RetainedRisk, RetainedRow
from forgetmi.core.arrays import Floats, Ints, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError
from forgetmi.evaluation.channels import Channel
from forgetmi.evaluation.membership import membership_auc
from forgetmi.evaluation.statistics import once


@dataclass(frozen=True, eq=False)
class _ChannelSignals:
    """Patient signals through one channel, under the unlearned model (first) and r retrained ones.

    Args:
        channel: Which.
        patients: Int[n], codes of the retained patients.
        retain, holdout: Float[1 + r, n], Float[1 + r, m].
    """

    channel: Channel
    patients: Ints
    retain: Floats
    holdout: Floats

    def auc(self) -> list[float]:
        """Under each model, the chance that a retained patient's signal is above a held-out one's."""
        values = []
        for inside, outside in zip(self.retain, self.holdout, strict=True):
            weights = once(len(inside) + len(outside))
            values.append(float(membership_auc(inside, outside, weights)[0]))
        return values


def retained_risk(
    knowledge_by_channel: KnowledgeByChannel, *, cohort: Cohort, draw: int, level: float
) -> RetainedRisk | None:
    """Retained patients' exposure after unlearning, against retraining; None where it cannot be told.

    Args:
        knowledge_by_channel: One forget set.
        cohort: For the digests of the patients.
        draw: Which forget set.
        level: Share of wrongly named patients among those named.
    """
    channels = _signals(knowledge_by_channel)
    if not channels:
        return None

    # Patients whose signal rose more than retrained models differ by
    retain = np.stack([signals.retain for signals in channels])
    never_seen = np.stack([signals.holdout.mean(1) for signals in channels])
    try:
        result = rise(
            unlearned=retain[:, 0],
            retrained=retain[:, 1:],
            never_unlearned=never_seen[:, 0],
            never_retrained=never_seen[:, 1:],
        )
    except EvaluationError:
        return None

    # AUC of each channel under the unlearned model, and the mean over the retrained ones
    auc: dict[str, float] = {}
    auc_retrained: dict[str, float] = {}
    for signals in channels:
        values = signals.auc()
        auc[signals.channel] = values[0]
        auc_retrained[signals.channel] = float(np.mean(values[1:]))

    # Those who stand out after correction, the most risen first
    names = codes(cohort.patient)[1]
    patients = channels[-1].patients
    flagged = np.flatnonzero(result.p_adjusted <= level)

    risen = []
    for index in sorted(flagged, key=lambda index: -result.score[index]):
        risen.append(
            RetainedRow(
                draw=draw,
                patient=str(names[patients[index]]),
                channel=channels[int(result.channel[index])].channel,
                score=float(result.score[index]),
                p_adjusted=float(result.p_adjusted[index]),
            )
        )

    return RetainedRisk(
        draw=draw,
        patients=len(patients),
        smallest_p=result.smallest_p,
        auc=auc,
        auc_retrained=auc_retrained,
        risen=tuple(risen),
    )


def _signals(knowledge_by_channel: KnowledgeByChannel) -> list[_ChannelSignals]:
    """Signals through every channel that can be measured on the same retained patients."""
    channels: list[_ChannelSignals] = []

    for channel, knowledge in knowledge_by_channel.items():
        models = (knowledge.audited, *knowledge.retrained)
        try:
            retain = np.stack([knowledge.signal(model, "retain") for model in models])
            holdout = np.stack([knowledge.signal(model, "holdout") for model in models])
        except EvaluationError:
            continue  # undefined on this channel
        except KeyError:
            continue  # signals without the retained rows

        # Patients without a label are on the link alone
        patients = knowledge.patients("retain").code
        if channels and len(channels[-1].patients) != len(patients):
            continue
        channels.append(_ChannelSignals(channel, patients, retain, holdout))

    return channels
