"""Seeded samples of whole patients that resemble the patients they are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Floats, Ints

DRAWS = 1000
BLOCK = 100  # random draws held in memory at a time
KS_TOLERANCE = 0.15
LABEL_TOLERANCE = 0.05
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PatientSample:
    """Which units were drawn, and how well they resemble all units.

    Args:
        units: Bool[u], drawn or not.
        total: Sum of the drawn units' sizes.
        distance: Kolmogorov-Smirnov distance of the drawn patients' study counts to all patients'.
        label_shift: Largest difference of a class's share of the images with a known label, 0 to 1.
    """

    units: Flags
    total: int
    distance: float
    label_shift: float

    @property
    def misfit(self) -> float:
        """The larger of both differences, in units of its tolerance (.15 and 5 points): at most 1 is within both."""
        return max(self.distance / KS_TOLERANCE, self.label_shift / LABEL_TOLERANCE)

    def __str__(self) -> str:
        return (
            f"distance of study counts {self.distance:.3f}, label shares within "
            f"{100 * self.label_shift:.1f} points (best of {DRAWS:,} draws)"
        )


def resembling_sample(
    size: Ints,
    studies: Ints,
    labels: Ints,
    *,
    target: float,
    generator: np.random.Generator,
    available: Flags | None = None,
) -> PatientSample:
    """Draw whole units whose sizes add up to a target and who resemble all units.

    The sum is the closest to the target that whole units can give, though never none and never all of them. Of 1,000
    random draws with that sum the one with the smallest `PatientSample.misfit` is taken.

    Args:
        size: Int64[u], what the target counts (images, or patients), 1 or more.
        studies: Int64[u, s], the unit's patients by number of studies, ascending.
        labels: Int64[u, k], the unit's images by class; images with an unknown label are in none.
        target: The sum wanted.
        generator: The random stream.
        available: Bool[u], who may be drawn, two or more; default all.
    """
    units = len(size)
    free = np.arange(units) if available is None else np.flatnonzero(available)
    goal = closest_sum(size[free], target)

    # Random orders of the free units, filled up greedily; only draws that meet the goal exactly count
    best: PatientSample | None = None
    for _ in range(0, DRAWS, BLOCK):
        order = np.argsort(generator.random((BLOCK, len(free))), axis=1)
        taken = _first_fit(size[free], order, goal)
        exact = taken[taken @ size[free] == goal]
        best = _better(best, _among_all(exact, free, units), size, studies, labels)

    # A sum that only few sets of units give: build one such set directly
    if best is None:
        order = generator.permutation(len(free))
        taken = _look_ahead(size[free], order, goal)
        best = _better(None, _among_all(taken[None], free, units), size, studies, labels)

    assert best is not None
    return best


def closest_sum(size: Ints, target: float) -> int:
    """The sum of some, but not all, of two or more sizes that is closest to the target; of two, the lower one."""
    total = int(size.sum())
    middle = min(max(round(target), 1), total - 1)

    # Bit s of this number is set where some of the sizes add up to s
    reachable = 1
    for number in size.tolist():
        reachable |= reachable << number

    # Search outwards from the target, the lower sum first
    for offset in range(total):
        candidates = []
        for candidate in (middle - offset, middle + offset):
            if 0 < candidate < total and reachable >> candidate & 1:
                candidates.append(candidate)
        if candidates:
            return min(candidates, key=lambda candidate: abs(candidate - target))

    raise ValueError("a sum of some, but not all, needs two sizes")


def _first_fit(size: Ints, order: Ints, goal: int) -> Flags:
    """Per order, take each unit that still fits; Bool[draws, u]."""
    draws = np.arange(len(order))
    taken = np.zeros(order.shape, dtype=bool)
    room = np.full(len(order), goal, np.int64)

    for unit in order.T:
        fits = size[unit] <= room
        taken[draws, unit] = fits
        room -= np.where(fits, size[unit], 0)
        if not room.any():
            break

    return taken


def _look_ahead(size: Ints, order: Ints, goal: int) -> Flags:
    """Take each unit with which the goal can still be reached exactly; Bool[u]."""
    mask = (1 << (goal + 1)) - 1

    # For each place in the order, the sums that the units after it can give, from the last place on
    later = [1]
    for number in size[order[:0:-1]].tolist():
        later.append((later[-1] | later[-1] << number) & mask)
    later.reverse()

    # Take a unit only where the units after it can fill what remains
    taken = np.zeros(len(size), dtype=bool)
    for unit, reachable in zip(order.tolist(), later, strict=True):
        remaining = goal - int(size[unit])
        if remaining >= 0 and reachable >> remaining & 1:
            taken[unit] = True
            goal = remaining

    return taken


def _among_all(taken: Flags, free: Ints, units: int) -> Flags:
    """Draws among the free units, written as draws among all units."""
    wide = np.zeros((len(taken), units), dtype=bool)
    wide[:, free] = taken
    return wide


def _better(
    best: PatientSample | None, taken: Flags, size: Ints, studies: Ints, labels: Ints
) -> PatientSample | None:
    """The draw that resembles all units most: one of these, or the best before them."""
    if len(taken) == 0:
        return best

    # What everybody looks like: label shares, and the distribution of study counts
    all_labels = _shares(labels.sum(axis=0))
    all_studies = np.cumsum(_shares(studies.sum(axis=0)))

    # How far each draw is from that
    weights = taken.astype(np.float64)
    drawn_studies = np.cumsum(_shares(weights @ studies), axis=-1)
    distance = np.abs(drawn_studies - all_studies).max(axis=-1)
    shift = np.abs(_shares(weights @ labels) - all_labels).max(axis=-1)

    # The closest draw, both differences in units of their tolerance
    misfit = np.maximum(distance / KS_TOLERANCE, shift / LABEL_TOLERANCE)
    index = int(np.argmin(misfit))
    sample = PatientSample(
        units=taken[index],
        total=int(size[taken[index]].sum()),
        distance=float(distance[index]),
        label_shift=float(shift[index]),
    )
    if best is None or sample.misfit < best.misfit:
        return sample
    return best


def _shares(counts: Ints | Floats) -> Floats:
    """Counts divided by their sum along the last axis; zeros where the sum is zero."""
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
