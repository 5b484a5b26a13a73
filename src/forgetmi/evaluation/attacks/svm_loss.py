"""Forget-MI's own membership attack, balanced and per image (arXiv 2506.23145): a support vector machine on losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.svm import SVC

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.membership import split_patients
from forgetmi.evaluation.statistics import once, weighted_mean

SVM_C = 3.0  # the C of the support vector machine, in Forget-MI, l1-sparse and SalUn
MAX_IMAGES_PER_SIDE = 2000  # fitting time grows with the square


@dataclass(frozen=True, eq=False)
class Decisions:
    """Which images the attack took for members.

    Args:
        forget: Float[n], share of the two swaps that flagged a forgotten image as a member: 0, 0.5 or 1.
        never_seen: Float[m], 1 where an image of a held-out patient was flagged by the attack that did not see it.
        half: Int[m], which half (0, 1) that image's patient is in.
        sizes: Members (= non-members) each of the two attacks was fitted on.
    """

    forget: Floats
    never_seen: Floats
    half: Ints
    sizes: tuple[int, int]

    def flag_rate(self, weights: Floats) -> Floats:
        """Share of forgotten images flagged, under weights Float[b, n]: the attack stays, patients are resampled."""
        return weighted_mean(self.forget, weights)

    def never_seen_flag_rate(self, weights: Floats) -> Floats:
        """The same for never-seen patients: mean of both halves' rates, under weights Float[b, m]."""
        # Each half was judged by the attack that was fitted on the other
        first, second = self.half == 0, self.half == 1
        first_rate = weighted_mean(self.never_seen[first], weights[:, first])
        second_rate = weighted_mean(self.never_seen[second], weights[:, second])
        return (first_rate + second_rate) / 2


def sample_mia(
    *,
    retain: Floats,
    forget: Floats,
    never_seen: Floats,
    patient: Ints,
    seed: int,
    per_side: int = MAX_IMAGES_PER_SIDE,
) -> Decisions:
    """The SVM attack of Forget-MI, per image and balanced.

    Members are retained images, non-members the images of half of the never-seen patients; the larger side is
    subsampled to the smaller. The feature is the logarithm of the cross-entropy, standardised on the attack's own
    training images. The other half is judged as a control, and both halves take both parts. A forgotten patient is
    hidden when it is flagged as often as the never-seen ones: that rate is the target, neither 0 nor 0.5.

    The classifier is Forget-MI's (arXiv 2506.23145): SVC, radial basis kernel, C = 3. Deviations: one loss per image
    instead of the release's mean over 32 images; equal sides; standardised logarithm; gamma "scale", which on one
    standardised feature is 1.

    Args:
        retain, forget, never_seen: Cross-entropies of labelled images, in nats.
        patient: Patient codes of the never-seen images.
        seed: The evaluation's seed; halves and subsamples are the same for every model.
        per_side: Most images on each side (fitting time grows with the square).

    Raises:
        EvaluationError: A side is empty, too few never-seen patients, or all losses are equal.

    Examples:
        Losses of members are small, so forgotten images with small losses are flagged.

        >>> remembered = np.full(4, 0.1)
        >>> never_seen = np.linspace(1.0, 2.0, 8)
        >>> decisions = sample_mia(
        ...     retain=np.linspace(0.05, 0.2, 8),
        ...     forget=remembered,
        ...     never_seen=never_seen,
        ...     patient=np.arange(8),
        ...     seed=0,
        ... )
        >>> decisions.forget
        array([1., 1., 1., 1.])
    """
    empty = [name for name, losses in (("retain", retain), ("forget", forget)) if not len(losses)]
    if empty:
        raise EvaluationError(Fault(f"no labelled images in: {', '.join(empty)}"))

    # The attack reads log-losses
    half = split_patients(patient, seed=seed)
    members, forgotten, control = _log(retain), _log(forget), _log(never_seen)

    flagged_forgotten = np.zeros(len(forget))
    flagged_control = np.zeros(len(never_seen))
    sizes = [0, 0]
    for fitted_on in (0, 1):
        # Fit on one half of the never-seen patients ...
        generator = numpy_generator(seed, "evaluate", "membership", "subsample", fitted_on)
        outsiders = control[half == fitted_on]
        size = min(len(members), len(outsiders), per_side)
        attack = _LossAttack.fit(
            inside=generator.choice(members, size, replace=False),
            outside=generator.choice(outsiders, size, replace=False),
        )
        sizes[fitted_on] = size

        # ... and judge the forgotten, and as a control the other half.
        other_half = half != fitted_on
        flagged_forgotten += attack.is_member(forgotten) / 2
        flagged_control[other_half] = attack.is_member(control[other_half])

    return Decisions(flagged_forgotten, flagged_control, half, (sizes[0], sizes[1]))


@dataclass(frozen=True, eq=False)
class _LossAttack:
    """A support vector machine on the standardised logarithm of the loss."""

    machine: SVC
    centre: float
    spread: float

    @classmethod
    def fit(cls, *, inside: Floats, outside: Floats) -> _LossAttack:
        """Learn to tell members' from non-members' log-losses; as many of each."""
        # One standardised feature: the logarithm of the loss
        feature = np.concatenate([inside, outside])
        centre, spread = feature.mean(), feature.std()
        if spread < 1e-12:
            raise EvaluationError(
                Fault("all losses are equal", why="the attack has nothing to separate")
            )

        is_member = np.repeat([1, 0], len(inside))
        machine = SVC(C=SVM_C, kernel="rbf", gamma="scale")
        machine.fit(((feature - centre) / spread)[:, None], is_member)
        return cls(machine, centre, spread)

    def is_member(self, log_loss: Floats) -> Ints:
        """1 for every image taken for a member, 0 for the others."""
        return self.machine.predict(((log_loss - self.centre) / self.spread)[:, None])


def _log(losses: Floats) -> Floats:
    """Logarithm of losses; a loss that underflowed to 0 counts as the smallest number."""
    return np.log(np.maximum(losses, np.finfo(np.float64).tiny))


@dataclass(frozen=True)
class SvmLoss:
    """Share of forgotten images that `sample_mia` takes for members; for comparison with published tables only.

    Its target is the rate for never-seen patients (in the details), neither 0 nor 0.5.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> SvmLoss().apply(toy_knowledge(memory=1.0)).value
        1.0
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        # Cross-entropies of the attacked model
        audited = knowledge.audited
        forget = knowledge.loss(audited, "forget")
        never_seen = knowledge.loss(audited, "holdout")
        retain = knowledge.loss(audited, "retain")

        # The attack's subsample must not depend on the records' order.
        owner = knowledge.partition.patient[knowledge.rows("holdout")]
        order = np.lexsort((owner, never_seen))
        decisions = sample_mia(
            retain=np.sort(retain),
            forget=forget,
            never_seen=never_seen[order],
            patient=owner[order],
            seed=knowledge.seed,
        )

        # On the data as they are, without resamples
        flag_rate = float(decisions.flag_rate(once(len(forget)))[0])
        never_seen_rate = float(decisions.never_seen_flag_rate(once(len(never_seen)))[0])
        return AttackOutput(
            value=flag_rate,
            unit="images",
            counts={
                "forgotten": len(forget),
                "never seen": len(never_seen),
                "retained": len(retain),
            },
            details={"never_seen_flag_rate": never_seen_rate},
            note="for comparison with published tables",
        )
