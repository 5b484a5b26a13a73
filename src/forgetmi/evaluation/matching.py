"""Weights that make never-seen patients comparable with the forgotten ones in study count and label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints

ROUNDS = 100


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

    Raking (Deming and Stephan 1940) on both margins. Study counts are binned so that each bin holds at least `least`
    never-seen patients; rarer labels share a category. The forgotten patients' shares are drawn towards the
    never-seen ones' by one patient's worth, so that no patient's weight is 0.

    Args:
        label: Int[f] and Int[m], labels of forgotten and never-seen patients, -1 = unknown.
        studies: Int[f] and Int[m], their study counts; None = matched on labels alone.
        least: Fewest never-seen patients in a category, >= 1.
    """
    margins = [_common(*label, least)] + ([] if studies is None else [_bins(*studies, least)])
    weights = np.ones(len(label[1]))
    for _ in range(ROUNDS):
        before = weights
        for inside, outside in margins:
            size = int(max(inside.max(), outside.max())) + 1
            share = np.bincount(outside, minlength=size) / len(outside)
            wanted = np.bincount(inside, minlength=size) + share
            wanted = np.where(share > 0, wanted, 0)
            held = np.bincount(outside, weights, minlength=size)
            weights = weights * (wanted / wanted.sum() / np.where(held > 0, held, 1))[outside]
        weights = weights * len(weights) / weights.sum()
        if np.abs(weights - before).max() < 1e-6:
            break
    unmatched = int((~np.isin(*margins[0])).sum())
    return Matching(weights, float(weights.sum() ** 2 / (weights**2).sum()), unmatched)


def _bins(inside: Ints, outside: Ints, least: int) -> tuple[Ints, Ints]:
    value, number = np.unique(outside, return_counts=True)
    edges, held = [], 0
    left = int(number.sum())
    for at, count in zip(value, number, strict=True):
        held, left = held + int(count), left - int(count)
        if held >= least and left >= least:
            edges.append(at + 0.5)
            held = 0
    return np.searchsorted(edges, inside), np.searchsorted(edges, outside)


def _common(inside: Ints, outside: Ints, least: int) -> tuple[Ints, Ints]:
    value, number = np.unique(outside, return_counts=True)
    frequent = value[number >= least]

    def place(label: Ints) -> Ints:
        at = np.clip(np.searchsorted(frequent, label), 0, max(len(frequent) - 1, 0))
        return (
            np.where(frequent[at] == label, at, len(frequent))
            if len(frequent)
            else np.zeros(len(label), np.int64)
        )

    return place(inside), place(outside)
