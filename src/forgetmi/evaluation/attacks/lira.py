"""LiRA, the likelihood-ratio attack (Carlini et al., "Membership Inference Attacks From First Principles", S&P
2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import norm

from forgetmi.core.arrays import Floats
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, ShadowSignals
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import compare
from forgetmi.evaluation.attacks.gaussian import augmentation_mean, fit, log_density

USABLE = 16  # shadow models


def online(
    target: Floats, stack: Floats, inside: np.ndarray, *, common: bool | None = None
) -> Floats:
    """Log-likelihood ratio of "trained on" against "not trained on", per record.

    Deviation from the published code: each side keeps its own spread, also when it is shared between records, and
    the shared one is taken around each record's mean.

    Args:
        target: Float[p, ...], signal under the attacked model; further axes are augmentations.
        stack: Float[m, p, ...], under m shadow models, the attacked one not among them.
        inside: Bool[m, p], trained on.
        common: See `forgetmi.evaluation.attacks.gaussian.fit`.

    Returns:
        Float[p], larger = more like a member.

    Examples:
        Of four shadow models, two were trained on the record; the target resembles those.

        >>> stack = np.array([[4.0], [6.0], [0.0], [2.0]])
        >>> inside = np.array([[True], [True], [False], [False]])
        >>> online(np.array([5.0]), stack, inside)
        array([4.])
    """
    likely = log_density(target, *fit(stack, inside, common=common))
    unlikely = log_density(target, *fit(stack, ~inside, common=common))
    return augmentation_mean(likely - unlikely)


def offline(
    target: Floats, stack: Floats, outside: np.ndarray, *, common: bool | None = None
) -> Floats:
    """How far a record's signal lies above that of models that never saw it, in standard deviations.

    The paper's score is the normal distribution function of this number (`norm.cdf`), which orders records in the
    same way but saturates. One-sided, as in the paper; the published plotting code is two-sided.

    Args:
        target, stack, common: As in `online`.
        outside: Bool[m, p], not trained on.

    Examples:
        >>> stack = np.array([[-1.0], [0.0], [1.0]])
        >>> offline(np.array([3.0]), stack, np.ones((3, 1), bool))
        array([3.])
    """
    # Only models that never saw the record are fitted
    centre, spread = fit(stack, outside, common=common)
    return augmentation_mean((target - centre) / spread)


def patient_auc(stack: Floats, inside: np.ndarray) -> tuple[Floats, Floats]:
    """How well membership of each single patient can be told over many models: the survival curve of risk.

    Binormal AUC (Knolle et al. 2026), standard error after Hanley and McNeil (1982).

    Args:
        stack: Float[m, p].
        inside: Bool[m, p], trained on.

    Returns:
        AUC and its standard error, Float[p] each.

    Examples:
        >>> stack = np.array([[4.0], [6.0], [0.0], [2.0]])
        >>> inside = np.array([[True], [True], [False], [False]])
        >>> auc, error = patient_auc(stack, inside)
        >>> auc.round(3), error.round(3)
        (array([0.977]), array([0.092]))
    """
    upper, upper_spread = fit(stack, inside, common=False)
    lower, lower_spread = fit(stack, ~inside, common=False)
    auc = norm.cdf((upper - lower) / np.sqrt(upper_spread**2 + lower_spread**2))

    # Hanley and McNeil: probabilities that two members, or two others, are both on the right side
    members, others = inside.sum(0), (~inside).sum(0)
    both_members, both_others = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc)
        + (members - 1) * (both_members - auc**2)
        + (others - 1) * (both_others - auc**2)
    )
    return auc, np.sqrt(np.maximum(variance, 0) / (members * others))


@dataclass(frozen=True)
class LiraOnline:
    """LiRA with shadow models that did and did not see each patient; at least 16 of them, better 64.

    Deviation: the record is the patient (mean signal), which absorbs how alike a patient's images are.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> LiraOnline().apply(toy_knowledge(memory=1.0)).value
        1.0
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="lira_online",
        title="LiRA, online",
        source="Carlini et al., S&P 2022",
        measures="AUC of forgotten against never-seen patients",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset({"shadows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        shadows = knowledge.shadow_signals("shadows")
        scores = online(shadows.target, shadows.stack, shadows.inside)
        return _compare(shadows, scores, knowledge)


@dataclass(frozen=True)
class LiraOffline:
    """LiRA with the shadow models that did not see the patient only; see `LiraOnline`.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> LiraOffline().apply(toy_knowledge(memory=1.0)).value
        1.0
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="lira_offline",
        title="LiRA, offline",
        source="Carlini et al., S&P 2022",
        measures="AUC of forgotten against never-seen patients",
        direction="higher",
        reference="retrained",
        forgotten=0.5,
        needs=frozenset({"shadows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        shadows = knowledge.shadow_signals("shadows")
        scores = offline(shadows.target, shadows.stack, ~shadows.inside)
        return _compare(shadows, scores, knowledge)


def _compare(shadows: ShadowSignals, scores: Floats, knowledge: AdversaryKnowledge) -> AttackOutput:
    """Forgotten against never-seen patients, noting how many shadow models there are."""
    members, never_seen = shadows.split(scores)

    # Few shadow models make a weak attack: the note says so
    models = len(shadows.stack)
    few = f"; at least {USABLE} are wanted" if models < USABLE else ""
    note = f"{models} shadow models{few}"
    return compare(members, never_seen, seed=knowledge.seed, note=note)
