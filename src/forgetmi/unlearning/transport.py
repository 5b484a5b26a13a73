"""From outputs for retained patients to outputs for validation patients: Gaussian optimal transport, label by label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.task import Cells

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
    """One Gaussian map per cell, with a common matrix; a class is a cell, and each finding has two.

    Args:
        units: What the coordinates depend on; their c cells are counted through.
        mean: Float[c, d] of each cell among the members, in the coordinates of its unit; 0 elsewhere, and where the
            cell has no members.
        shift: Float[c, d] from each cell's mean to its mean among the validation samples, likewise.
        matrix: Float[d, d], A.
        known: Bool[c], cells with members.
        rows: Int[c], validation samples of each cell.
        common: The common true-label shift of each unit, in logits.
    """

    units: tuple[Cells, ...]
    mean: Floats
    shift: Floats
    matrix: Floats
    known: np.ndarray
    rows: Ints
    common: tuple[float, ...]

    def apply(self, points: Floats, cells: Ints, *, covariance: float = 1.0) -> Floats:
        """Move points as the members of their cells would have to be moved to look like validation samples.

        With cell y, mean m and shift s of the cell: ``a + s_y + c (A - 1)(a - m_y)``. A cell without members is
        only shifted; coordinates of a unit in which a point has no cell stay where they are, and move no others.

        Args:
            points: Float[n, d].
            cells: Int[n, units], or Int[n] of a single unit, -1 = unknown.
            covariance: Share c of the covariance map, 0 (shift alone) to 1.

        Returns:
            Float[n, d].
        """
        shift, around_mean = np.zeros_like(points), np.zeros_like(points)
        labelled = np.zeros(points.shape, bool)

        # Shift by cell, and the place about the cell's mean, in each unit's coordinates.
        for columns, first, cell in _each_unit(self.units, cells):
            index, there = first + cell, cell >= 0
            with_members = there & self.known[index]
            apart = points[:, columns] - self.mean[index, columns]
            shift[:, columns] = np.where(there[:, None], self.shift[index, columns], 0.0)
            around_mean[:, columns] = np.where(with_members[:, None], apart, 0.0)
            labelled[:, columns] = there[:, None]

        # The covariance map around the means.
        identity = np.eye(len(self.matrix))
        spread = covariance * around_mean @ (self.matrix - identity)
        return points + shift + np.where(labelled, spread, 0.0)


def fit_transport(
    members: Floats,
    member_cells: Ints,
    validation: Floats,
    validation_cells: Ints,
    *,
    units: tuple[Cells, ...],
    prior: float = 5.0,
) -> Transport:
    """Estimate how training displaces outputs, from patients who were trained on and patients who were not.

    The shift of a cell is the difference of its two means, shrunk towards a shift common to its unit: every cell moved
    by the same number of logits along its own label, fitted by least squares. The matrix maps the pooled within-cell
    covariance of the members onto that of the validation samples, each shrunk towards the mean of the two; where either
    set is too small to have one, both become the same and the map is the identity. Unknown labels are left out: of two
    findings' covariance the samples in which both are known are taken.

    Args:
        members: Float[n, d] coordinates (see `forgetmi.core.task.Space`) of samples trained on.
        member_cells: Int[n, units], or Int[n] of a single unit, -1 = unknown.
        validation: Float[m, d] coordinates of validation samples, never trained on.
        validation_cells: Int[m, units], or Int[m], likewise.
        units: What the coordinates depend on.
        prior: Samples that the common shift and the shared covariance count for, >= 0.

    Raises:
        MethodError: No cell has both members and validation samples.
    """
    mean, member_rows = _means(members, member_cells, units)
    reference, rows = _means(validation, validation_cells, units)
    both = (member_rows > 0) & (rows > 0)
    if not both.any():
        raise MethodError(
            Fault(
                "no class has both retained and validation samples with a label",
                why="there is nothing to calibrate on",
                do="Give the cohort validation patients with labels, or use the method consensus, which needs none.",
            )
        )

    # The common shift of each unit: least squares of its cells' shifts along their own labels.
    along = _along(units, members.shape[1])
    apart = np.where(both[:, None], reference - mean, 0.0)
    weight = np.where(both, rows, 0)
    projected = weight * (along * apart).sum(1)
    squares = weight * (along**2).sum(1)
    common: list[float] = []
    for cells in _cells_of_units(units):
        square = float(squares[cells].sum())
        common.append(float(projected[cells].sum() / square) if square else 0.0)

    # Each cell's shift, shrunk towards its unit's common one the more, the fewer validation samples there are.
    sizes = [len(unit.along) for unit in units]
    common_of_cell = np.repeat(common, sizes)[:, None]
    trust = np.divide(weight, weight + prior, out=np.zeros(len(weight)), where=both)[:, None]
    shift = trust * apart + (1 - trust) * common_of_cell * along

    # The map between the pooled within-cell covariances.
    member_scatter = _scatter(members, member_cells, mean, units)
    validation_scatter = _scatter(validation, validation_cells, reference, units)
    source, target = _covariances(member_scatter, validation_scatter, prior)
    return Transport(
        units=units,
        mean=mean,
        shift=shift,
        matrix=gaussian_map(source, target),
        known=member_rows > 0,
        rows=rows,
        common=tuple(common),
    )


def _cells_of_units(units: tuple[Cells, ...]) -> Iterator[slice]:
    """The cells of each unit, counted through."""
    first = 0
    for unit in units:
        yield slice(first, first + len(unit.along))
        first += len(unit.along)


def _each_unit(units: tuple[Cells, ...], cells: Ints) -> Iterator[tuple[slice, int, Ints]]:
    """Columns, number of the first cell, and the samples' cells of each unit."""
    of_unit = cells.reshape(len(cells), len(units)).T
    for unit, counted, cell in zip(units, _cells_of_units(units), of_unit, strict=True):
        yield unit.columns, counted.start, cell


def _along(units: tuple[Cells, ...], width: int) -> Floats:
    """Each cell's direction in all coordinates, Float[c, width]."""
    along = np.zeros((sum(len(unit.along) for unit in units), width))
    for unit, cells in zip(units, _cells_of_units(units), strict=True):
        along[cells, unit.columns] = unit.along
    return along


def _means(points: Floats, cells: Ints, units: tuple[Cells, ...]) -> tuple[Floats, Ints]:
    """Mean of each cell in its unit's coordinates, 0 where it has no samples, and the number of its samples."""
    count = sum(len(unit.along) for unit in units)
    total, rows = np.zeros((count, points.shape[1])), np.zeros(count, np.int64)

    # Sum by cell.
    for columns, first, cell in _each_unit(units, cells):
        there = cell >= 0
        np.add.at(total[:, columns], first + cell[there], points[there][:, columns])
        rows += np.bincount(first + cell[there], minlength=count)
    return total / np.maximum(rows, 1)[:, None], rows


def _scatter(
    points: Floats, cells: Ints, mean: Floats, units: tuple[Cells, ...]
) -> tuple[Floats, Floats]:
    """Sum of squares and products about the cells' means, and the degrees of freedom of each."""
    around_mean, known = np.zeros_like(points), np.zeros(points.shape)
    present = np.zeros(points.shape[1])
    for columns, first, cell in _each_unit(units, cells):
        there = cell >= 0
        apart = points[:, columns] - mean[first + cell, columns]
        around_mean[:, columns] = np.where(there[:, None], apart, 0.0)
        known[:, columns] = there[:, None]
        present[columns] = len(np.unique(cell[there]))

    # Of two coordinates the samples count in which both are known, less one for each cell.
    labelled = known.any(axis=1)
    around_mean = around_mean[labelled]
    freedom = known.T @ known - np.minimum(present[:, None], present[None, :])
    return around_mean.T @ around_mean, np.maximum(freedom, 0.0)


def _covariances(
    members: tuple[Floats, Floats],
    validation: tuple[Floats, Floats],
    prior: float,
) -> tuple[Floats, Floats]:
    """Pooled within-cell covariances, each with `prior` samples of the covariance common to both."""
    freedom = members[1] + validation[1]
    shared = (members[0] + validation[0]) / np.maximum(freedom, 1)

    def shrunk(scatter: Floats, freedom: Floats) -> Floats:
        samples = freedom + prior
        both = (scatter + prior * shared) / np.where(samples, samples, 1.0)
        return np.where(samples, both, shared)

    return shrunk(*members), shrunk(*validation)
