"""Class-conditional Gaussian transport: closed forms, a slow oracle, limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import MethodError
from forgetmi.core.seeding import numpy_generator
from forgetmi.model.head_space import centred_basis, class_units, finding_units
from forgetmi.unlearning.transport import Transport, fit_transport, gaussian_map

CLASSES = 4
SEEDS = st.integers(0, 2**31)


def covariance(seed: int, dimension: int, *, name: str = "") -> Floats:
    draw = numpy_generator(seed, "covariance", name).standard_normal((dimension, dimension + 2))
    return draw @ draw.T + 0.05 * np.eye(dimension)


def samples(seed: int, name: str, *, rows: int = 80, spread: float = 1.0) -> tuple[Floats, Ints]:
    """Points about four class means, every class at least 20 times."""
    rng = numpy_generator(seed, "samples", name)
    label = np.arange(rows) % CLASSES
    mix = rng.standard_normal((CLASSES - 1, CLASSES - 1))
    return 3 * rng.standard_normal((CLASSES, CLASSES - 1))[label] + spread * rng.standard_normal(
        (rows, CLASSES - 1)
    ) @ mix, label


def slow(
    members: Floats, label: Ints, validation: Floats, validation_label: Ints, prior: float
) -> tuple[Floats, Floats]:
    """Shifts and matrix written out with loops and scipy's matrix root; every class in both sets."""
    k, d = CLASSES, members.shape[1]
    basis = centred_basis(k)
    apart, count = np.zeros((k, d)), np.zeros(k)
    scatter = [np.zeros((d, d)), np.zeros((d, d))]
    freedom = [len(label) - k, len(validation_label) - k]
    for c in range(k):
        means = []
        for side, (points, labels) in enumerate(((members, label), (validation, validation_label))):
            own = [points[i] for i in range(len(points)) if labels[i] == c]
            means.append(sum(own) / len(own))
            for point in own:
                scatter[side] += np.outer(point - means[-1], point - means[-1])
        apart[c], count[c] = means[1] - means[0], sum(labels == c for labels in validation_label)
    one_hot = [np.eye(k)[c] - 1 / k for c in range(k)]
    top = sum(count[c] * float(one_hot[c] @ basis @ apart[c]) for c in range(k))
    common = top / sum(count[c] * float(one_hot[c] @ one_hot[c]) for c in range(k))
    shift = np.array(
        [
            (count[c] * apart[c] + prior * common * one_hot[c] @ basis) / (count[c] + prior)
            for c in range(k)
        ]
    )
    shared = (scatter[0] + scatter[1]) / sum(freedom)
    s, t = ((scatter[side] + prior * shared) / (freedom[side] + prior) for side in (0, 1))
    root = np.real(sqrtm(s))
    return shift, np.real(np.linalg.inv(root) @ sqrtm(root @ t @ root) @ np.linalg.inv(root))


@pytest.mark.parametrize("classes", [2, 4, 14])
def test_the_basis_is_orthonormal_and_centred(classes: int) -> None:
    basis = centred_basis(classes)
    assert np.allclose(basis.T @ basis, np.eye(classes - 1))
    assert np.allclose(basis.sum(0), 0)
    assert np.allclose(
        basis @ basis.T, np.eye(classes) - 1 / classes
    )  # row c is the centred one-hot of class c


def test_the_map_in_one_dimension_is_the_ratio_of_the_deviations() -> None:
    assert gaussian_map(np.array([[4.0]]), np.array([[9.0]])).item() == pytest.approx(1.5)


def test_the_map_of_commuting_covariances_by_hand() -> None:
    assert np.allclose(
        gaussian_map(np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 1.0])), np.diag([2, 1, 1 / 3])
    )


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 6))
def test_the_map_takes_one_covariance_to_the_other(seed: int, dimension: int) -> None:
    s, t = covariance(seed, dimension, name="s"), covariance(seed, dimension, name="t")
    found = gaussian_map(s, t)
    assert np.array_equal(found, found.T)
    assert np.linalg.eigvalsh(found).min() > 0
    assert np.allclose(found @ s @ found, t, rtol=1e-7, atol=1e-8)
    assert np.allclose(gaussian_map(s, s), np.eye(dimension), atol=1e-7)
    assert np.allclose(found @ gaussian_map(t, s), np.eye(dimension), atol=1e-6)


def test_directions_without_members_are_left_alone() -> None:
    s, t = np.diag([4.0, 0.0]), np.array([[1.0, 0.5], [0.5, 9.0]])
    assert np.allclose(gaussian_map(s, t), np.diag([0.5, 1.0]))
    assert np.array_equal(gaussian_map(np.zeros((3, 3)), np.eye(3)), np.eye(3))
    assert np.allclose(gaussian_map(np.eye(2), np.zeros((2, 2))), 0)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.floats(0, 20))
def test_fit_against_a_slow_oracle(seed: int, prior: float) -> None:
    members, label = samples(seed, "members")
    validation, validation_label = samples(seed, "validation", rows=48)
    found = fit_transport(
        members, label, validation, validation_label, units=class_units(CLASSES), prior=prior
    )
    shift, matrix = slow(members, label, validation, validation_label, prior)
    assert np.allclose(found.shift, shift)
    assert np.allclose(found.matrix, matrix, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_members_take_the_means_and_the_covariance_of_the_validation(seed: int) -> None:
    members, label = samples(seed, "members")
    validation, validation_label = samples(seed, "validation", rows=48, spread=0.3)
    moved = fit_transport(
        members, label, validation, validation_label, units=class_units(CLASSES), prior=0
    ).apply(members, label)
    pooled = []
    for points, labels in ((moved, label), (validation, validation_label)):
        means = np.array([points[labels == c].mean(0) for c in range(CLASSES)])
        around = points - means[labels]
        pooled.append((means, around.T @ around / (len(points) - CLASSES)))
    assert np.allclose(pooled[0][0], pooled[1][0])
    assert np.allclose(pooled[0][1], pooled[1][1], rtol=1e-6)


@settings(max_examples=20, deadline=None)
@example(99, 0.0, 1.0)  # nearly flat in one direction
@given(SEEDS, st.floats(0, 20), st.floats(0, 1))
def test_equal_sets_leave_every_point_where_it_is(seed: int, prior: float, share: float) -> None:
    points, label = samples(seed, "members")
    other, other_label = samples(seed, "others", rows=12)
    found = fit_transport(points, label, points, label, units=class_units(CLASSES), prior=prior)
    assert np.allclose(found.apply(other, other_label, covariance=share), other, atol=1e-9)


def test_without_covariance_each_class_is_only_shifted() -> None:
    members, label = samples(1, "members")
    validation, validation_label = samples(1, "validation", rows=48)
    found = fit_transport(members, label, validation, validation_label, units=class_units(CLASSES))
    assert np.allclose(found.apply(members, label, covariance=0) - members, found.shift[label])
    half = (
        found.apply(members, label, covariance=0) + found.apply(members, label, covariance=1)
    ) / 2
    assert np.allclose(found.apply(members, label, covariance=0.5), half)


def test_a_class_without_validation_samples_takes_the_common_shift() -> None:
    members, label = samples(2, "members")
    validation, validation_label = samples(2, "validation", rows=48)
    rest = validation_label != 3
    found = fit_transport(
        members, label, validation[rest], validation_label[rest], units=class_units(CLASSES)
    )
    assert np.allclose(found.shift[3], found.common[0] * centred_basis(CLASSES)[3])
    assert found.rows.tolist() == [12, 12, 12, 0]


def test_the_fewer_validation_samples_the_closer_to_the_common_shift() -> None:
    members, label = samples(3, "members")
    validation, validation_label = samples(3, "validation", rows=160)
    off = []
    for many in (1, 5, 40):
        some = np.concatenate(
            [np.flatnonzero(validation_label != 2), np.flatnonzero(validation_label == 2)[:many]]
        )
        same = validation.copy()
        same[validation_label == 2] = validation[validation_label == 2].mean(
            0
        )  # every draw of the class has the same mean
        found = fit_transport(
            members, label, same[some], validation_label[some], units=class_units(CLASSES)
        )
        own = same[validation_label == 2][0] - members[label == 2].mean(0)
        off.append(float(np.linalg.norm(found.shift[2] - own)))
    assert off[0] > off[1] > off[2] > 0


def test_the_common_shift_is_found_where_there_is_one() -> None:
    members, label = samples(4, "members")
    found = fit_transport(
        members,
        label,
        members - 1.7 * centred_basis(CLASSES)[label],
        label,
        units=class_units(CLASSES),
    )
    assert found.common[0] == pytest.approx(-1.7)
    assert np.allclose(found.shift, -1.7 * centred_basis(CLASSES))
    assert np.allclose(found.matrix, np.eye(3), atol=1e-7)


def test_a_class_without_members_is_only_shifted() -> None:
    members, label = samples(5, "members")
    validation, validation_label = samples(5, "validation", rows=48)
    rest = label != 1
    found = fit_transport(
        members[rest], label[rest], validation, validation_label, units=class_units(CLASSES)
    )
    point = np.array([[1.0, -2.0, 0.5]])
    assert np.allclose(
        found.apply(point, np.array([1])) - point, found.common[0] * centred_basis(CLASSES)[1]
    )


def test_a_point_without_a_label_stays() -> None:
    members, label = samples(6, "members")
    validation, validation_label = samples(6, "validation", rows=48)
    found = fit_transport(members, label, validation, validation_label, units=class_units(CLASSES))
    assert np.array_equal(found.apply(members[:3], np.full(3, -1)), members[:3])


def test_samples_without_a_label_are_left_out() -> None:
    members, label = samples(7, "members")
    validation, validation_label = samples(7, "validation", rows=48)
    found = fit_transport(members, label, validation, validation_label, units=class_units(CLASSES))
    more = np.full((5, 3), 1e6)
    again = fit_transport(
        np.concatenate([members, more]),
        np.append(label, np.full(5, -1)),
        np.concatenate([validation, more]),
        np.append(validation_label, np.full(5, -1)),
        units=class_units(CLASSES),
    )
    assert np.array_equal(found.shift, again.shift)
    assert np.array_equal(found.matrix, again.matrix)


def test_one_validation_sample_a_class_gives_no_covariance_map() -> None:
    members, label = samples(8, "members")
    validation, validation_label = samples(8, "validation", rows=4)
    assert np.allclose(
        fit_transport(
            members, label, validation, validation_label, units=class_units(CLASSES)
        ).matrix,
        np.eye(3),
        atol=1e-7,
    )
    few = fit_transport(
        members[:4], label[:4], *samples(8, "validation", rows=48), units=class_units(CLASSES)
    )
    assert np.allclose(few.matrix, np.eye(3), atol=1e-7)


def test_few_validation_samples_are_regularised() -> None:
    """Five validation samples leave one direction; alone they would flatten the other two."""
    rng = numpy_generator(9, "round")
    members, validation, label = (
        rng.standard_normal((80, 3)),
        rng.standard_normal((5, 3)),
        np.arange(80) % CLASSES,
    )
    flat, steady = (
        np.linalg.eigvalsh(
            fit_transport(
                members, label, validation, label[:5], units=class_units(CLASSES), prior=prior
            ).matrix
        )
        for prior in (0.0, 5.0)
    )
    assert flat[1] < 1e-6
    assert steady[0] > 0.7
    assert steady[-1] < 1.4


def test_one_class_alone() -> None:
    members, label = samples(10, "members")
    validation, validation_label = samples(10, "validation", rows=48)
    found = fit_transport(
        members[label == 2],
        label[label == 2],
        validation[validation_label == 2],
        validation_label[validation_label == 2],
        units=class_units(CLASSES),
        prior=0,
    )
    moved = found.apply(members[label == 2], label[label == 2])
    assert np.allclose(moved.mean(0), validation[validation_label == 2].mean(0))
    assert np.allclose(np.cov(moved.T), np.cov(validation[validation_label == 2].T))


@pytest.mark.parametrize(
    ("mine", "theirs"), [([0, 1], [2, 3]), ([-1], [0, 1]), ([0, 1], [-1]), ([0, 1], [])]
)
def test_nothing_in_common_is_refused(mine: list[int], theirs: list[int]) -> None:
    with pytest.raises(MethodError, match="validation patients with labels"):
        fit_transport(
            np.zeros((len(mine), 3)),
            np.array(mine),
            np.zeros((len(theirs), 3)),
            np.array(theirs, np.int64),
            units=class_units(CLASSES),
        )


def test_it_does_not_depend_on_the_order_of_the_samples() -> None:
    members, label = samples(11, "members")
    validation, validation_label = samples(11, "validation", rows=48)
    order = numpy_generator(0, "order").permutation(len(label))
    one: Transport = fit_transport(
        members, label, validation, validation_label, units=class_units(CLASSES)
    )
    two = fit_transport(
        members[order], label[order], validation, validation_label, units=class_units(CLASSES)
    )
    assert np.allclose(one.shift, two.shift)
    assert np.allclose(one.matrix, two.matrix)


def finding_samples(seed: int, rows: int) -> tuple[Floats, Ints]:
    """Logits of three findings, a third of whose labels is unknown."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(-1, 2, (rows, 3))
    return 2 * cells + rng.standard_normal((rows, 3)) @ rng.standard_normal((3, 3)), cells


def test_findings_against_a_slow_computation() -> None:
    """Each finding has two means and a common shift of its own; the covariance is of the pairs of known findings."""
    members, member_cells = finding_samples(0, 60)
    validation, validation_cells = finding_samples(1, 45)
    units = finding_units(3)
    prior = 5.0
    found = fit_transport(
        members, member_cells, validation, validation_cells, units=units, prior=prior
    )

    def mean(points: Floats, cells: Ints, finding: int, cell: int) -> float:
        return points[cells[:, finding] == cell, finding].mean()

    for finding in range(3):
        apart, count = [], []
        for cell in (0, 1):
            apart.append(
                mean(validation, validation_cells, finding, cell)
                - mean(members, member_cells, finding, cell)
            )
            count.append(int((validation_cells[:, finding] == cell).sum()))
        common = (count[1] * apart[1] - count[0] * apart[0]) / sum(count)
        assert found.common[finding] == pytest.approx(common)
        for cell, sign in ((0, -1), (1, 1)):
            shrunk = (count[cell] * apart[cell] + prior * common * sign) / (count[cell] + prior)
            assert found.shift[2 * finding + cell, finding] == pytest.approx(shrunk)
            assert np.count_nonzero(found.shift[2 * finding + cell]) == 1

    def scatter(points: Floats, cells: Ints) -> tuple[Floats, Floats]:
        sums, freedom = np.zeros((3, 3)), np.full((3, 3), -2.0)
        for point, cell in zip(points, cells, strict=True):
            for i in range(3):
                for j in range(3):
                    if min(cell[i], cell[j]) >= 0:
                        around = [point[k] - mean(points, cells, k, cell[k]) for k in (i, j)]
                        sums[i, j] += around[0] * around[1]
                        freedom[i, j] += 1
        return sums, freedom

    of_members, of_validation = (
        scatter(members, member_cells),
        scatter(validation, validation_cells),
    )
    shared = (of_members[0] + of_validation[0]) / (of_members[1] + of_validation[1])
    source, target = (
        (sums + prior * shared) / (freedom + prior) for sums, freedom in (of_members, of_validation)
    )
    np.testing.assert_allclose(found.matrix, gaussian_map(source, target), atol=1e-9)


def test_unknown_findings_stay_where_they_are_and_move_no_others() -> None:
    members, member_cells = finding_samples(2, 60)
    validation, validation_cells = finding_samples(3, 60)
    found = fit_transport(
        members, member_cells, validation, validation_cells, units=finding_units(3)
    )
    point = np.array([[1.0, -2.0, 0.5]])
    cells = np.array([[1, -1, 0]])
    moved = found.apply(point, cells)
    assert moved[0, 1] == point[0, 1]
    assert moved[0, 0] != point[0, 0]

    # Whatever an unknown finding's logit is, the others go to the same place
    other = point + np.array([[0.0, 9.0, 0.0]])
    np.testing.assert_array_equal(found.apply(other, cells)[0, [0, 2]], moved[0, [0, 2]])
    nothing = np.full((1, 3), -1)
    np.testing.assert_array_equal(found.apply(point, nothing), point)


def test_a_finding_that_nobody_has_or_lacks_is_left_alone() -> None:
    members, member_cells = finding_samples(4, 60)
    validation, validation_cells = finding_samples(5, 60)
    member_cells[:, 1] = validation_cells[:, 1] = -1
    found = fit_transport(
        members, member_cells, validation, validation_cells, units=finding_units(3)
    )
    assert found.common[1] == 0
    assert np.isfinite(found.matrix).all()
    moved = found.apply(members, member_cells)
    np.testing.assert_array_equal(moved[:, 1], members[:, 1])


def test_one_finding_is_moved_like_two_classes() -> None:
    """The coordinate of two classes is half the root of two times the log-odds: shifts and maps scale alike."""
    members, member_cells = finding_samples(6, 80)
    validation, validation_cells = finding_samples(7, 80)
    one = fit_transport(
        members[:, :1],
        member_cells[:, 0],
        validation[:, :1],
        validation_cells[:, 0],
        units=finding_units(1),
    )
    scale = -np.sqrt(0.5)
    two = fit_transport(
        scale * members[:, :1],
        member_cells[:, 0],
        scale * validation[:, :1],
        validation_cells[:, 0],
        units=class_units(2),
    )
    moved = one.apply(members[:, :1], member_cells[:, 0])
    np.testing.assert_allclose(
        two.apply(scale * members[:, :1], member_cells[:, 0]), scale * moved, atol=1e-9
    )
