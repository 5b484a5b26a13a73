"""Seeded draws of whole people who resemble those they are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetmi.core.types import Floats, Ints

DRAWS = 1000
BLOCK = 100  # draws held in memory at a time
KS_TOLERANCE = 0.15
LABEL_TOLERANCE = 0.05
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Draw:
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


def resembling_draw(
    size: Ints,
    studies: Ints,
    labels: Ints,
    *,
    target: float,
    generator: np.random.Generator,
    available: Flags | None = None,
) -> Draw:
    """Draw whole units whose sizes add up to a target and who resemble all units.

    The sum is the closest to the target that whole units can give, though never none and never all of them. Of 1,000
    random draws with that sum the one with the smallest `Draw.misfit` is taken.

    Args:
        size: Int64[u], what the target counts (images, or patients), 1 or more.
        studies: Int64[u, s], the unit's patients by number of studies, ascending.
        labels: Int64[u, k], the unit's images by class; images with an unknown label are in none.
        target: The sum wanted.
        generator: The random stream.
        available: Bool[u], who may be drawn, two or more; default all.
    """
    free = np.arange(len(size)) if available is None else np.flatnonzero(available)
    goal = closest_sum(size[free], target)
    best: Draw | None = None
    for _ in range(0, DRAWS, BLOCK):
        order = np.argsort(generator.random((BLOCK, len(free))), axis=1)
        taken = _first_fit(size[free], order, goal)
        best = _better(
            best, _spread(taken[taken @ size[free] == goal], free, len(size)), size, studies, labels
        )
    if best is None:  # a sum that only few sets of units give
        taken = _look_ahead(size[free], generator.permutation(len(free)), goal)[None]
        best = _better(None, _spread(taken, free, len(size)), size, studies, labels)
    assert best is not None
    return best


def closest_sum(size: Ints, target: float) -> int:
    """The sum of some, but not all, of two or more sizes that is closest to the target; of two, the lower one."""
    reachable = 1  # bit s is set where a sum s can be had
    for one in size.tolist():
        reachable |= reachable << one
    total = int(size.sum())
    middle = min(max(round(target), 1), total - 1)
    sums = (middle + step for off in range(total) for step in (-off, off))
    found = next(one for one in sums if 0 < one < total and reachable >> one & 1)
    twin = 2 * middle - found
    if 0 < twin < total and reachable >> twin & 1 and abs(twin - target) < abs(found - target):
        return twin
    return found


def _first_fit(size: Ints, order: Ints, goal: int) -> Flags:
    """Per order, take each unit that still fits; Bool[draws, u]."""
    taken = np.zeros(order.shape, dtype=bool)
    room = np.full(len(order), goal, np.int64)
    every = np.arange(len(order))
    for unit in order.T:
        fits = size[unit] <= room
        taken[every, unit] = fits
        room -= np.where(fits, size[unit], 0)
        if not room.any():
            break
    return taken


def _look_ahead(size: Ints, order: Ints, goal: int) -> Flags:
    """Take each unit with which the goal can still be reached exactly; Bool[u]."""
    mask = (1 << (goal + 1)) - 1
    later = [1]
    for one in size[order[:0:-1]].tolist():
        later.append((later[-1] | later[-1] << one) & mask)
    taken = np.zeros(len(size), dtype=bool)
    for unit, reachable in zip(order.tolist(), reversed(later), strict=True):
        room = goal - int(size[unit])
        if room >= 0 and reachable >> room & 1:
            taken[unit] = True
            goal = room
    return taken


def _spread(taken: Flags, free: Ints, units: int) -> Flags:
    """Draws among the free units as draws among all."""
    wide = np.zeros((len(taken), units), dtype=bool)
    wide[:, free] = taken
    return wide


def _better(
    best: Draw | None, taken: Flags, size: Ints, studies: Ints, labels: Ints
) -> Draw | None:
    """The one of the draws, or the best before them, that resembles all units most."""
    if len(taken) == 0:
        return best
    everyone, people = _shares(labels.sum(axis=0)), np.cumsum(_shares(studies.sum(axis=0)))
    weights = taken.astype(np.float64)
    distance = np.abs(np.cumsum(_shares(weights @ studies), axis=-1) - people).max(axis=-1)
    shift = np.abs(_shares(weights @ labels) - everyone).max(axis=-1)
    i = int(np.argmin(np.maximum(distance / KS_TOLERANCE, shift / LABEL_TOLERANCE)))
    found = Draw(taken[i], int(size[taken[i]].sum()), float(distance[i]), float(shift[i]))
    return found if best is None or found.misfit < best.misfit else best


def _shares(counts: Ints | Floats) -> Floats:
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
