"""Statistical membership inference (SMI): which share of the forgotten look, by their embeddings, like never-seen
patients, and which like retained ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.embeddings import patient_embeddings, require_own_embedding
from forgetmi.evaluation.statistics import interval, resample_patients

RESAMPLES = 200  # as in the paper
MOST = 1000  # retained and never-seen patients each; more tell nothing new
SHRINK = 2.0  # added to the pooled covariance, in units of its mean eigenvalue
SHARES = np.linspace(0, 1, 1001)  # among which the best is looked for


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean Float[d] and unbiased covariance Float[d, d] of some patients' embeddings."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, embedding: Floats) -> Moments:
        """Of embeddings Float[p, d], p >= 2."""
        return cls(embedding.mean(0), np.atleast_2d(np.cov(embedding.T)))


def never_seen_share(
    forgotten: Floats, retained: Moments, never_seen: Moments, weights: Floats
) -> tuple[Floats, Floats]:
    """The share pi of never-seen patients in the mixture of both groups that fits the forgotten best, in 0..1.

    With d the difference of both means, the mixture's mean is mu_m + pi d, and its covariance
    pi S_n + (1 - pi) S_m + pi (1 - pi) d d'. The share minimises the squared (Frobenius) distance to the forgotten's
    own: of the covariances alone, as published, and of both, each divided by its scale (the trace of the forgotten's
    covariance, and its square).

    Args:
        forgotten: Float[p, d], p >= 2, embeddings in the same coordinates as the moments.
        retained, never_seen: Of the two groups.
        weights: Float[b, p], how often each patient is drawn; each row sums to p.

    Returns:
        Float[b] twice: by both moments, and by the covariance alone. Found on a grid of 0.001.

    Examples:
        Half of these look like never-seen patients, whose spread is 1, and half like retained ones, whose spread is 3.

        >>> rng = np.random.default_rng(0)
        >>> near, far = rng.normal(size=(500, 2)), 3 * rng.normal(size=(500, 2))
        >>> both = np.concatenate([near[:250], far[:250]])
        >>> share, _ = never_seen_share(both, Moments.of(far), Moments.of(near), np.ones((1, 500)))
        >>> share.round(1)
        array([0.5])
    """
    count = len(forgotten)
    d = never_seen.mean - retained.mean
    grown = never_seen.covariance - retained.covariance + np.outer(d, d)

    # Means of the resamples, and inner products of their covariances with both matrices: linear in the patients
    share = weights / count
    mean = share @ forgotten
    unbiased = count / (count - 1)
    along = share @ _forms(forgotten, grown) - _forms(mean, grown)
    squared = share @ (forgotten @ d) ** 2 - (mean @ d) ** 2
    total = share @ (forgotten**2).sum(1) - (mean**2).sum(1)

    # The distance of covariances as a polynomial in pi, without what does not depend on it
    to_grown = unbiased * along - (retained.covariance * grown).sum()
    to_shift = unbiased * squared - d @ retained.covariance @ d
    size, mixed, fourth = (grown**2).sum(), d @ grown @ d, (d @ d) ** 2
    pi = SHARES
    covariances = (
        -2 * np.outer(to_grown, pi)
        + size * pi**2
        + 2 * np.outer(to_shift, pi**2)
        - 2 * mixed * pi**3
        + fourth * pi**4
    )

    # The distance of means, and both together: over scale^2 and scale, without dividing where nothing varies
    means = -2 * np.outer((mean - retained.mean) @ d, pi) + (d @ d) * pi**2
    scale = np.maximum(unbiased * total, 0)[:, None]
    both = covariances + means * scale
    return pi[both.argmin(1)], pi[covariances.argmin(1)]


def _forms(points: Floats, matrix: Floats) -> Floats:
    """Float[p]: x' M x of each row."""
    return ((points @ matrix) * points).sum(1)


@dataclass(frozen=True)
class Smi:
    """Share of the forgotten whose embeddings look like those of never-seen patients: 1 = all, 0 = like retained ones.

    Use it beside the membership attacks: an attack that fails does not show that a patient was forgotten. No model is
    trained for it. With few patients it is biased towards a half, so that retrained models' own share, and not 1, is
    what it is compared with. The interval is over forgotten patients alone (the paper's "reference range"). What is
    unlike both groups, such as an over-forgotten patient, has no share that means anything.

    Source: Sun et al., arXiv 2602.01150 (Proposition 3.1, Lemma 3.2, Algorithm 1): the covariances alone. These cannot
    tell a share from its complement where both groups spread alike. Deviations: the means are matched, too (the value
    without them is in the details); coordinates in which all patients together have nearly equal variances, so that no
    direction outweighs the others; embeddings are means over a patient's images; 95 % instead of 90 %.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> Smi().apply(toy_knowledge(memory=0.0)).value
        1.0
        >>> Smi().apply(toy_knowledge(memory=1.0)).value < 0.8
        True
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="smi",
        title="Statistical membership inference (SMI)",
        source="Sun et al., 2026, arXiv 2602.01150",
        measures="share of forgotten patients that look like never-seen ones by their embeddings",
        direction="lower",
        reference="retrained",
        forgotten=1.0,
        needs=frozenset({"retain rows"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        # Patients of the three groups; never-seen ones are held out, or extra references
        require_own_embedding(knowledge)
        (forgotten,) = patient_embeddings(knowledge, "forget")
        (everyone,) = patient_embeddings(knowledge, "retain")
        outside = [patient_embeddings(knowledge, name)[0] for name in knowledge.never_seen]
        retained = _some(everyone, "retain", knowledge.seed)
        never_seen = _some(np.concatenate(outside), "never seen", knowledge.seed)
        counts = {
            "forgotten": len(forgotten),
            "retained": len(retained),
            "never seen": len(never_seen),
        }
        if min(counts.values()) < 2:
            raise EvaluationError(Fault("fewer than two patients on one side"))

        # Coordinates in which retained and never-seen patients together spread alike in all directions
        basis = _whitening(retained, never_seen)
        sample = resample_patients(
            np.arange(len(forgotten)),
            resamples=RESAMPLES,
            generator=numpy_generator(knowledge.seed, "attacks", "smi", "bootstrap"),
        )
        shares, by_covariance = never_seen_share(
            forgotten @ basis,
            Moments.of(retained @ basis),
            Moments.of(never_seen @ basis),
            sample.multiplicity.astype(np.float64),
        )
        bounds, why = interval(shares, patients=len(forgotten))
        return AttackOutput(
            value=float(shares[0]),
            counts=counts,
            interval=bounds,
            details={"by_covariance_alone": float(by_covariance[0])},
            note=why,
        )


def _some(embedding: Floats, name: str, seed: int) -> Floats:
    """At most `MOST` patients of a group, drawn at random."""
    if len(embedding) <= MOST:
        return embedding
    order = numpy_generator(seed, "attacks", "smi", name).permutation(len(embedding))
    return embedding[np.sort(order[:MOST])]


def _whitening(retained: Floats, never_seen: Floats) -> Floats:
    """Float[d, d] that makes the groups' pooled covariance, with some of its mean eigenvalue added, the identity."""
    pooled = (
        len(retained) * Moments.of(retained).covariance
        + len(never_seen) * Moments.of(never_seen).covariance
    ) / (len(retained) + len(never_seen))
    mean = np.trace(pooled) / len(pooled)
    if mean <= 0:
        raise EvaluationError(Fault("all embeddings are the same", why="the model collapsed"))

    values, directions = np.linalg.eigh(pooled / mean + SHRINK * np.eye(len(pooled)))
    return directions / np.sqrt(values * mean)
