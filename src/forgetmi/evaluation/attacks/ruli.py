"""RULI, the two unlearning games (Naderloui et al., "Rectifying Privacy and Efficacy Measurements in Machine
Unlearning", USENIX Security 2025)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.special import logsumexp

from forgetmi.core.arrays import Floats
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Stacked
from forgetmi.evaluation.attacks.base import AttackInfo, Found
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.attacks.gaussian import fit, log_density
from forgetmi.evaluation.attacks.lira import patient_auc

FOR_KERNELS = 30


def bandwidth(stack: Floats, chosen: np.ndarray) -> Floats:
    """Scott's rule per record: standard deviation times (number of models) to the power -1/5; Float[p]."""
    return fit(stack, chosen, common=False)[1] * chosen.sum(0) ** -0.2


def log_kernel_density(target: Floats, stack: Floats, chosen: np.ndarray) -> Floats:
    """Logarithm of each record's density over models: kernels, or a normal distribution where models are few.

    Deviation: the published code leaves the kernels' width at 1 whatever the signal's scale; here it is Scott's rule.

    Args:
        target: Float[p].
        stack: Float[m, p].
        chosen: Bool[m, p]; with fewer than 30 models for some record, all records get a normal distribution.
    """
    if chosen.sum(0).min() < FOR_KERNELS:
        return log_density(target, *fit(stack, chosen))
    width = bandwidth(stack, chosen)
    each = np.where(chosen, log_density(target, stack, width), -np.inf)
    return logsumexp(each, axis=0) - np.log(chosen.sum(0))


@dataclass(frozen=True)
class RuliPrivacy:
    """RULI's privacy game: "forgotten" against "never trained on", both after unlearning; 90 or more shadow models.

    Random patients hide the worst cases: `auc_vulnerable` is the value on the half of the forgotten patients whose
    membership is easiest to tell in the original models, where plain shadow models are there too.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="ruli_privacy",
        title="RULI, privacy game",
        source="Naderloui et al., USENIX Security 2025",
        measures="AUC of forgotten against never-seen patients",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset({"unlearned shadows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        found = knowledge.pooled("unlearned shadows")
        scores = log_kernel_density(
            found.target, found.stack, found.forgotten
        ) - log_kernel_density(found.target, found.stack, found.never_trained)
        result = compare(*found.split(scores), seed=knowledge.seed, note=_models(found))
        if knowledge.shadows is None:
            return result
        plain = knowledge.pooled("shadows")
        risk = patient_auc(plain.stack, plain.inside)[0][: plain.members]
        members, never_seen = found.split(scores)
        worst = compare(members[risk >= np.median(risk)], never_seen, seed=knowledge.seed)
        return replace(result, details={**result.details, "auc_vulnerable": worst.value})


@dataclass(frozen=True)
class RuliEfficacy:
    """RULI's efficacy game: does the unlearned model look as if the patient had never been in?

    "Never trained on" comes from the plain shadow models, and a never-seen patient's own signal from the original
    model, so that the unlearning is compared with no training at all.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="ruli_efficacy",
        title="RULI, efficacy game",
        source="Naderloui et al., USENIX Security 2025",
        measures="AUC of forgotten against never-seen patients",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset({"original", "shadows", "unlearned shadows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        found, plain = knowledge.pooled("unlearned shadows"), knowledge.pooled("shadows")
        target = np.concatenate(
            [
                found.split(found.target)[0],
                knowledge.signal(knowledge.signals["original"], "holdout"),
            ]
        )
        scores = log_kernel_density(target, found.stack, found.forgotten) - log_kernel_density(
            target, plain.stack, ~plain.inside
        )
        return compare(*found.split(scores), seed=knowledge.seed, note=_models(found))


def _models(found: Stacked) -> str:
    least = int(min(found.forgotten.sum(0).min(), found.never_trained.sum(0).min()))
    how = "kernel" if least >= FOR_KERNELS else "normal"
    return f"{how} densities on at least {least} shadow models a side of every patient"
