"""From outputs for retained patients to outputs for validation patients: Gaussian optimal transport, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.head_space import centred_basis

NEGLIGIBLE = 1e-10  # eigenvalues below this share of the largest are rounding


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
    # Eigenvectors of S; directions of negligible variance are left alone.
    values, vectors = np.linalg.eigh(source)
    varies = values > NEGLIGIBLE * max(values[-1], np.finfo(np.float64).tiny)
    length = np.sqrt(np.where(varies, values, 1.0))

    root = (vectors * np.where(varies, length, 0.0)) @ vectors.T
    inverse = (vectors * np.where(varies, 1.0 / length, 0.0)) @ vectors.T
    fixed = (vectors * np.where(varies, 0.0, 1.0)) @ vectors.T

    # Singular values of S^1/2 T^1/2, not roots of eigenvalues of S^1/2 T S^1/2: those keep half of the digits only.
    spread, axes = np.linalg.eigh(target)
    target_root = axes * np.sqrt(np.maximum(spread, 0.0))
    between, singular, _ = np.linalg.svd(root @ target_root)

    # Symmetric up to rounding, and exactly so in the end.
    matrix = inverse @ (between * singular) @ between.T @ inverse + fixed
    return (matrix + matrix.T) / 2


@dataclass(frozen=True, eq=False)
class Transport:
    """One Gaussian map per class, with a common matrix.

    Args:
        mean: Float[k, d] of each class among the members; 0 where it has none.
        shift: Float[k, d] from each class's mean to its mean among the validation samples.
        matrix: Float[d, d], A.
        known: Bool[k], classes with members.
        rows: Int[k], validation samples of each class.
        common: The common true-label shift, in logits.
    """

    mean: Floats
    shift: Floats
    matrix: Floats
    known: np.ndarray
    rows: Ints
    common: float

    def apply(self, points: Floats, label: Ints, *, covariance: float = 1.0) -> Floats:
        """Move points as the members of their class would have to be moved to look like validation samples.

        With label y, mean m and shift s of the class: ``a + s_y + c (A - 1)(a - m_y)``. A class without members is
        only shifted; a point whose label is -1 stays where it is.

        Args:
            points: Float[n, d].
            label: Int[n], -1 = unknown.
            covariance: Share c of the covariance map, 0 (shift alone) to 1.

        Returns:
            Float[n, d].
        """
        labelled = label >= 0
        with_members = labelled & self.known[label]

        # Shift by class, and the covariance map around the class mean.
        shift = np.where(labelled[:, None], self.shift[label], 0.0)
        around_mean = np.where(with_members[:, None], points - self.mean[label], 0.0)
        identity = np.eye(len(self.matrix))
        return points + shift + covariance * around_mean @ (self.matrix - identity)


def fit_transport(
    members: Floats,
    member_label: Ints,
    validation: Floats,
    validation_label: Ints,
    *,
    classes: int,
    prior: float = 5.0,
) -> Transport:
    """Estimate how training displaces outputs, from patients who were trained on and patients who were not.

    The shift of a class is the difference of its two means, shrunk towards a common shift: every class moved by the
    same number of logits along its own label, fitted by least squares. The matrix maps the pooled within-class
    covariance of the members onto that of the validation samples, each shrunk towards the mean of the two; where either
    set is too small to have one, both become the same and the map is the identity. Samples without a label are left
    out.

    Args:
        members: Float[n, k - 1] coordinates (see `centred_basis`) of samples trained on.
        member_label: Int[n], -1 = unknown.
        validation: Float[m, k - 1] coordinates of validation samples, never trained on.
        validation_label: Int[m], -1 = unknown.
        classes: Number k of classes.
        prior: Samples that the common shift and the shared covariance count for, >= 0.

    Raises:
        MethodError: No class has both members and validation samples.
    """
    mean, member_rows = _means(members, member_label, classes)
    reference, rows = _means(validation, validation_label, classes)
    both = (member_rows > 0) & (rows > 0)
    if not both.any():
        raise MethodError(
            Fault(
                "no class has both retained and validation samples with a label",
                why="there is nothing to calibrate on",
                do="Give the cohort validation patients with labels, or use the method consensus, which needs none.",
            )
        )

    # The common shift: least squares of the classes' shifts along their own labels.
    along = centred_basis(classes)
    apart = np.where(both[:, None], reference - mean, 0.0)
    weight = np.where(both, rows, 0)
    projected = (weight * (along * apart).sum(1)).sum()
    squares = (weight * (along**2).sum(1)).sum()
    common = float(projected / squares)

    # Each class's shift, shrunk towards the common one the more, the fewer validation samples there are.
    trust = np.divide(weight, weight + prior, out=np.zeros(classes), where=both)[:, None]
    shift = trust * apart + (1 - trust) * common * along

    # The map between the pooled within-class covariances.
    member_scatter = _scatter(members, member_label, mean)
    validation_scatter = _scatter(validation, validation_label, reference)
    source, target = _covariances(member_scatter, validation_scatter, prior)
    return Transport(
        mean=mean,
        shift=shift,
        matrix=gaussian_map(source, target),
        known=member_rows > 0,
        rows=rows,
        common=common,
    )


def _means(points: Floats, label: Ints, classes: int) -> tuple[Floats, Ints]:
    """Mean of each class, 0 where it has no samples, and the number of its samples."""
    labelled = label >= 0
    rows = np.bincount(label[labelled], minlength=classes)

    # Sum by class.
    total = np.zeros((classes, points.shape[1]))
    np.add.at(total, label[labelled], points[labelled])
    return total / np.maximum(rows, 1)[:, None], rows


def _scatter(points: Floats, label: Ints, mean: Floats) -> tuple[Floats, int]:
    """Sum of squares and products about the class means, and its degrees of freedom."""
    labelled = label >= 0
    around_mean = (points - mean[label])[labelled]
    freedom = len(around_mean) - len(np.unique(label[labelled]))
    return around_mean.T @ around_mean, freedom


def _covariances(
    members: tuple[Floats, int],
    validation: tuple[Floats, int],
    prior: float,
) -> tuple[Floats, Floats]:
    """Pooled within-class covariances, each with `prior` samples of the covariance common to both."""
    freedom = members[1] + validation[1]
    shared = (members[0] + validation[0]) / max(freedom, 1)

    def shrunk(scatter: Floats, freedom: int) -> Floats:
        if not freedom + prior:
            return shared
        return (scatter + prior * shared) / (freedom + prior)

    return shrunk(*members), shrunk(*validation)
