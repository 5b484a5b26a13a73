"""From the outputs of remembered patients to those of unseen ones: Gaussian optimal transport, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import helmert

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import Fault, MethodError

NEGLIGIBLE = 1e-10  # eigenvalues below this share of the largest are rounding


def centred_basis(classes: int) -> Floats:
    """Orthonormal basis of the logits that sum to zero: what a softmax can see of its logits.

    Args:
        classes: Number k of classes, >= 2.

    Returns:
        Float[k, k - 1]; ``logits @ basis`` are the k - 1 coordinates.
    """
    return helmert(classes).T


def gaussian_map(source: Floats, target: Floats) -> Floats:
    """The matrix of the optimal transport between two centred Gaussians.

    A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2 is the symmetric, positive semi-definite solution of A S A = T, and the
    identity where S = T. Directions in which the source does not vary are left alone.

    Args:
        source, target: Float[d, d] covariances S and T.

    Returns:
        Float[d, d].

    Source: Peyre and Cuturi, Computational Optimal Transport (2019), remark 2.31. Deviation: S may be singular.
    """
    values, vectors = np.linalg.eigh(source)
    varies = values > NEGLIGIBLE * max(values[-1], np.finfo(np.float64).tiny)
    length = np.sqrt(np.where(varies, values, 1.0))
    root = (vectors * np.where(varies, length, 0.0)) @ vectors.T
    inverse = (vectors * np.where(varies, 1.0 / length, 0.0)) @ vectors.T
    still = (vectors * np.where(varies, 0.0, 1.0)) @ vectors.T
    # Singular values of S^1/2 T^1/2, not roots of eigenvalues of S^1/2 T S^1/2: those keep half of the digits only.
    spread, axes = np.linalg.eigh(target)
    between, singular, _ = np.linalg.svd(root @ (axes * np.sqrt(np.maximum(spread, 0.0))))
    moved = inverse @ (between * singular) @ between.T @ inverse + still
    return (moved + moved.T) / 2


@dataclass(frozen=True, eq=False)
class Transport:
    """One Gaussian map per class, with a common matrix.

    Args:
        mean: Float[k, d] of each class among the members; 0 where it has none.
        shift: Float[k, d] from each class's mean to that of the unseen.
        matrix: Float[d, d], A.
        known: Bool[k], classes with members.
        rows: Int[k], unseen samples of each class.
        common: The common true-label shift, in logits.
    """

    mean: Floats
    shift: Floats
    matrix: Floats
    known: np.ndarray
    rows: Ints
    common: float

    def apply(self, points: Floats, label: Ints, *, covariance: float = 1.0) -> Floats:
        """Move points as the members of their class would have to be moved to look unseen.

        With label y, mean m and shift s of the class: ``a + s_y + c (A - 1)(a - m_y)``. A class without members is
        only shifted; a point whose label is -1 stays where it is.

        Args:
            points: Float[n, d].
            label: Int[n], -1 = unknown.
            covariance: Share c of the covariance map, 0 (shift alone) to 1.

        Returns:
            Float[n, d].
        """
        labelled, known = label >= 0, (label >= 0) & self.known[label]
        change = np.where(labelled[:, None], self.shift[label], 0.0)
        around = np.where(known[:, None], points - self.mean[label], 0.0)
        return points + change + covariance * around @ (self.matrix - np.eye(len(self.matrix)))


def fit_transport(
    members: Floats,
    member_label: Ints,
    unseen: Floats,
    unseen_label: Ints,
    *,
    classes: int,
    prior: float = 5.0,
) -> Transport:
    """Estimate how training displaces outputs, from patients who were trained on and patients who were not.

    The shift of a class is the difference of its two means, shrunk towards a common shift: every class moved by the
    same number of logits along its own label, fitted by least squares. The matrix maps the pooled within-class
    covariance of the members onto that of the unseen, each shrunk towards the mean of the two; where either set is too
    small to have one, both become the same and the map is the identity. Samples without a label are left out.

    Args:
        members: Float[n, k - 1] coordinates (see `centred_basis`) of samples trained on.
        member_label: Int[n], -1 = unknown.
        unseen: Float[m, k - 1] coordinates of samples never trained on.
        unseen_label: Int[m], -1 = unknown.
        classes: Number k of classes.
        prior: Samples that the common shift and the shared covariance count for, >= 0.

    Raises:
        MethodError: No class has both members and unseen samples.
    """
    mean, there = _means(members, member_label, classes)
    reference, rows = _means(unseen, unseen_label, classes)
    both = (there > 0) & (rows > 0)
    if not both.any():
        raise MethodError(
            Fault(
                "no class has both retained and validation samples with a label",
                why="there is nothing to calibrate on",
                do="Give the cohort validation patients with labels, or use the method consensus, which needs none.",
            )
        )
    along = centred_basis(classes)
    apart = np.where(both[:, None], reference - mean, 0.0)
    weight = np.where(both, rows, 0)
    common = float((weight * (along * apart).sum(1)).sum() / (weight * (along**2).sum(1)).sum())
    trust = np.divide(weight, weight + prior, out=np.zeros(classes), where=both)[:, None]
    return Transport(
        mean,
        trust * apart + (1 - trust) * common * along,
        gaussian_map(
            *_covariances(
                _scatter(members, member_label, mean),
                _scatter(unseen, unseen_label, reference),
                prior,
            )
        ),
        there > 0,
        rows,
        common,
    )


def _means(points: Floats, label: Ints, classes: int) -> tuple[Floats, Ints]:
    rows = np.bincount(label[label >= 0], minlength=classes)
    total = np.zeros((classes, points.shape[1]))
    np.add.at(total, label[label >= 0], points[label >= 0])
    return total / np.maximum(rows, 1)[:, None], rows


def _scatter(points: Floats, label: Ints, mean: Floats) -> tuple[Floats, int]:
    """Sum of squares and products about the class means, and its degrees of freedom."""
    around = (points - mean[label])[label >= 0]
    return around.T @ around, len(around) - len(np.unique(label[label >= 0]))


def _covariances(
    members: tuple[Floats, int],
    unseen: tuple[Floats, int],
    prior: float,
) -> tuple[Floats, Floats]:
    """Pooled within-class covariances, each with `prior` samples of what both have in common."""
    shared = (members[0] + unseen[0]) / max(members[1] + unseen[1], 1)

    def shrunk(scatter: Floats, freedom: int) -> Floats:
        return (scatter + prior * shared) / (freedom + prior) if freedom + prior else shared

    return shrunk(*members), shrunk(*unseen)
