"""RULI, the two unlearning games (Naderloui et al., "Rectifying Privacy and Efficacy Measurements in Machine
Unlearning", USENIX Security 2025)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.special import logsumexp

from forgetmi.core.arrays import Floats
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, ShadowSignals
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.attacks.gaussian import fit, log_density
from forgetmi.evaluation.attacks.lira import patient_auc

FOR_KERNELS = 30  # models from which on kernels are used


def bandwidth(stack: Floats, chosen: np.ndarray) -> Floats:
    """Scott's rule per record: standard deviation times (number of models) to the power -1/5; Float[p].

    Examples:
        >>> bandwidth(np.array([[-1.0], [0.0], [1.0]]), np.ones((3, 1), bool)).round(3)
        array([0.803])
    """
    _, spread = fit(stack, chosen, common=False)
    return spread * chosen.sum(0) ** -0.2


def log_kernel_density(target: Floats, stack: Floats, chosen: np.ndarray) -> Floats:
    """Logarithm of each record's density over models: kernels, or a normal distribution where models are few.

    Deviation: the published code leaves the kernels' width at 1 whatever the signal's scale; here it is Scott's rule.

    Args:
        target: Float[p].
        stack: Float[m, p].
        chosen: Bool[m, p]; with fewer than 30 models for some record, all records get a normal distribution.

    Examples:
        >>> stack = np.array([[-1.0], [0.0], [1.0]])
        >>> log_kernel_density(np.array([0.0]), stack, np.ones((3, 1), bool)).round(3)
        array([-0.919])
    """
    models = chosen.sum(0)
    if models.min() < FOR_KERNELS:
        return log_density(target, *fit(stack, chosen))

    # Mean of one kernel per model
    kernels = log_density(target, stack, bandwidth(stack, chosen))
    kernels = np.where(chosen, kernels, -np.inf)
    return logsumexp(kernels, axis=0) - np.log(models)


@dataclass(frozen=True)
class RuliPrivacy:
    """RULI's privacy game: "forgotten" against "never trained on", both after unlearning; 90 or more shadow models.

    Random patients hide the worst cases: `auc_vulnerable` is the value on the half of the forgotten patients whose
    membership is easiest to tell in the original models, where plain shadow models are there too.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> output = RuliPrivacy().apply(toy_knowledge(memory=1.0))
        >>> output.value
        1.0
        >>> output.note
        'normal densities on at least 4 shadow models a side of every patient'
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        shadows = knowledge.shadow_signals("unlearned shadows")

        # The likelihood ratio of both roles
        target, stack = shadows.target, shadows.stack
        forgotten = log_kernel_density(target, stack, shadows.forgotten)
        never_trained = log_kernel_density(target, stack, shadows.never_trained)
        members, never_seen = shadows.split(forgotten - never_trained)
        output = compare(members, never_seen, seed=knowledge.seed, note=_models(shadows))

        if knowledge.shadows is None:
            return output

        # The half of the forgotten patients whose membership is easiest to tell
        plain = knowledge.shadow_signals("shadows")
        auc, _ = patient_auc(plain.stack, plain.inside)
        risk = auc[: plain.members]
        vulnerable = members[risk >= np.median(risk)]
        worst = compare(vulnerable, never_seen, seed=knowledge.seed)
        return replace(output, details={**output.details, "auc_vulnerable": worst.value})


@dataclass(frozen=True)
class RuliEfficacy:
    """RULI's efficacy game: does the unlearned model look as if the patient had never been in?

    "Never trained on" comes from the plain shadow models, and a never-seen patient's own signal from the original
    model, so that the unlearning is compared with no training at all.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> RuliEfficacy().apply(toy_knowledge(memory=1.0)).value
        1.0
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        unlearned = knowledge.shadow_signals("unlearned shadows")
        plain = knowledge.shadow_signals("shadows")

        # Forgotten patients under the attacked model, never-seen ones under the original
        members, _ = unlearned.split(unlearned.target)
        never_seen = knowledge.signal(knowledge.signals["original"], "holdout")
        target = np.concatenate([members, never_seen])

        # Each role from its own pool
        forgotten = log_kernel_density(target, unlearned.stack, unlearned.forgotten)
        never_trained = log_kernel_density(target, plain.stack, ~plain.inside)
        member_scores, other_scores = unlearned.split(forgotten - never_trained)
        return compare(member_scores, other_scores, seed=knowledge.seed, note=_models(unlearned))


def _models(shadows: ShadowSignals) -> str:
    """What the densities rest on, in words."""
    forgotten, never_trained = shadows.forgotten.sum(0), shadows.never_trained.sum(0)
    least = int(min(forgotten.min(), never_trained.min()))
    density = "kernel" if least >= FOR_KERNELS else "normal"
    return f"{density} densities on at least {least} shadow models a side of every patient"
