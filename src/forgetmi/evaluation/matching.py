"""Weights that make never-seen patients comparable with the forgotten ones in study count and label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints

ROUNDS = 100  # of raking at most
TOLERANCE = 1e-6  # largest change of a weight that ends the raking


@dataclass(frozen=True, eq=False)
class Matching:
    """Weights of the never-seen patients.

    Args:
        weights: Float[m], mean 1.
        effective: How many equally weighted patients they are worth (Kish: squared sum over sum of squares).
        unmatched: Forgotten patients whose label no never-seen patient has.
    """

    weights: Floats
    effective: float
    unmatched: int


def match(
    *,
    label: tuple[Ints, Ints],
    studies: tuple[Ints, Ints] | None = None,
    least: int = 5,
) -> Matching:
    """Weight never-seen patients so that their study counts and labels are distributed as the forgotten patients'.

    Raking (Deming and Stephan 1940) on both margins. Study counts are binned so that each bin has at least `least`
    never-seen patients; rarer labels share a category. The forgotten patients' shares are drawn towards the
    never-seen ones' by one patient's worth, so that no patient's weight is 0.

    Args:
        label: Int[f] and Int[m], labels of forgotten and never-seen patients, -1 = unknown.
        studies: Int[f] and Int[m], their study counts; None = matched on labels alone.
        least: Fewest never-seen patients in a category, >= 1.

    Examples:
        Three of four forgotten patients have label 1, but half of the never-seen ones.

        >>> forgotten, never_seen = np.array([1, 1, 1, 0]), np.array([0, 0, 1, 1])
        >>> match(label=(forgotten, never_seen), least=1).weights
        array([0.6, 0.6, 1.4, 1.4])
    """
    margins = [_common(*label, least)]
    if studies is not None:
        margins.append(_bins(*studies, least))

    weights = np.ones(len(label[1]))
    for _ in range(ROUNDS):
        before = weights
        for inside, outside in margins:
            weights = weights * _correction(inside, outside, weights)
        weights = weights * len(weights) / weights.sum()
        if np.abs(weights - before).max() < TOLERANCE:
            break

    unmatched = int((~np.isin(*margins[0])).sum())
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    return Matching(weights, effective, unmatched)


def _correction(inside: Ints, outside: Ints, weights: Floats) -> Floats:
    """Float[m]: factors after which one margin's categories have the forgotten patients' shares.

    Args:
        inside, outside: Int[f], Int[m], categories of forgotten and never-seen patients.
        weights: Float[m], as they are.
    """
    categories = int(max(inside.max(), outside.max())) + 1

    # Wanted: the forgotten patients' counts, plus one patient spread as the never-seen ones are
    share = np.bincount(outside, minlength=categories) / len(outside)
    wanted = np.bincount(inside, minlength=categories) + share
    wanted = np.where(share > 0, wanted, 0)

    present = np.bincount(outside, weights, minlength=categories)
    factor = wanted / wanted.sum() / np.where(present > 0, present, 1)
    return factor[outside]


def _bins(inside: Ints, outside: Ints, least: int) -> tuple[Ints, Ints]:
    """Study counts as bins, each with enough never-seen patients."""
    counts, patients = np.unique(outside, return_counts=True)

    # Close a bin as soon as it has enough patients and enough remain for the next.
    edges, in_bin = [], 0
    remaining = int(patients.sum())
    for studies, number in zip(counts, patients, strict=True):
        in_bin += int(number)
        remaining -= int(number)
        if in_bin >= least and remaining >= least:
            edges.append(studies + 0.5)
            in_bin = 0

    return np.searchsorted(edges, inside), np.searchsorted(edges, outside)


def _common(inside: Ints, outside: Ints, least: int) -> tuple[Ints, Ints]:
    """Labels as categories 0, 1 ...; those that few never-seen patients have share the last one."""
    labels, patients = np.unique(outside, return_counts=True)
    frequent = labels[patients >= least]

    def category(label: Ints) -> Ints:
        if not len(frequent):
            return np.zeros(len(label), np.int64)
        nearest = np.clip(np.searchsorted(frequent, label), 0, len(frequent) - 1)
        return np.where(frequent[nearest] == label, nearest, len(frequent))

    return category(inside), category(outside)
