"""Membership inference per image: an attack trained on retained against never-seen patients judges the forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.svm import SVC

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.statistics import weighted_auc, weighted_mean

PER_SIDE = 2000


@dataclass(frozen=True, eq=False)
class Decisions:
    """What the attack said about each image.

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
        halves = [
            weighted_mean(self.never_seen[self.half == h], weights[:, self.half == h])
            for h in (0, 1)
        ]
        return (halves[0] + halves[1]) / 2


def split_patients(patient: Ints, *, seed: int) -> Ints:
    """Divide patients into two random halves; Int[n] of 0 and 1 for their images.

    Args:
        patient: Int[n] codes that do not depend on the identifier key.
        seed: The evaluation's seed.

    Raises:
        EvaluationError: Fewer than two patients.
    """
    distinct, local = np.unique(patient, return_inverse=True)
    if len(distinct) < 2:
        raise EvaluationError(
            Fault("the attack needs at least two never-seen patients", why="each judges the other")
        )
    shuffled = numpy_generator(seed, "evaluate", "membership", "halves").permutation(len(distinct))
    return (shuffled >= len(distinct) // 2).astype(np.int64)[local]


def sample_mia(
    *,
    retain: Floats,
    forget: Floats,
    never_seen: Floats,
    patient: Ints,
    seed: int,
    per_side: int = PER_SIDE,
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
    """
    empty = [name for name, losses in (("retain", retain), ("forget", forget)) if not len(losses)]
    if empty:
        raise EvaluationError(Fault(f"no labelled images in: {', '.join(empty)}"))
    half = split_patients(patient, seed=seed)
    members, asked, control = _log(retain), _log(forget), _log(never_seen)
    flagged, judged, sizes = np.zeros(len(forget)), np.zeros(len(never_seen)), [0, 0]
    for fitted_on in (0, 1):
        outsiders = control[half == fitted_on]
        size = sizes[fitted_on] = min(len(members), len(outsiders), per_side)
        generator = numpy_generator(seed, "evaluate", "membership", "subsample", fitted_on)
        inside = generator.choice(members, size, replace=False)
        outside = generator.choice(outsiders, size, replace=False)
        feature = np.concatenate([inside, outside])
        centre, spread = feature.mean(), feature.std()
        if spread < 1e-12:
            raise EvaluationError(
                Fault("all losses are equal", why="the attack has nothing to separate")
            )
        attack = SVC(C=3.0, kernel="rbf", gamma="scale").fit(
            ((feature - centre) / spread)[:, None], np.repeat([1, 0], size)
        )
        flagged += attack.predict(((asked - centre) / spread)[:, None]) / 2
        other = half != fitted_on
        judged[other] = attack.predict(((control[other] - centre) / spread)[:, None])
    return Decisions(flagged, judged, half, (sizes[0], sizes[1]))


def _log(losses: Floats) -> Floats:
    return np.log(np.maximum(losses, np.finfo(np.float64).tiny))


def membership_auc(inside: Floats, outside: Floats, weights: Floats) -> Floats:
    """Threshold-free attack: probability that a sample of the first set looks more like a member than of the second.

    Args:
        inside: Float[n], larger = more like a member (a logit margin, or minus the loss). Above 0.5 = remembered;
            below 0.5 = over-forgotten, which gives the patient away as well.
        outside: Float[m], the same of never-seen images.
        weights: Float[b, n + m], those of the first set first.

    Returns:
        Float[b].
    """
    positive = np.arange(len(inside) + len(outside)) < len(inside)
    return weighted_auc(np.concatenate([inside, outside]), positive, weights)
