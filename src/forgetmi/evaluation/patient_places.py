"""Where forgotten patients are among never-seen ones of about as many studies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints

_BLOCK = 2_000_000  # pairs of a forgotten and a never-seen patient in memory at once


@dataclass(frozen=True, eq=False)
class Places:
    """One place a forgotten patient.

    Args:
        high, low: Float[f], share of the compared that score at least as high, and at least as low, oneself counted.
        below: Float[f], share of all never-seen patients that score lower, equal ones half.
        compared: Int[f], how many are compared with.
    """

    high: Floats
    low: Floats
    below: Floats
    compared: Ints


def places_among(
    count: Ints, score: Floats, other_count: Ints, other_score: Floats, *, nearest: int
) -> Places:
    """Compare forgotten patients with the never-seen ones nearest in study count.

    Args:
        count, score: Int[f], Float[f], study counts and scores of the forgotten.
        other_count, other_score: Int[m], Float[m], of the never-seen.
        nearest: With how many each is compared, 1 to m; all with an equal count are included.
    """
    shares = [np.empty(len(count)) for _ in range(3)]
    places = Places(shares[0], shares[1], shares[2], np.empty(len(count), np.int64))

    # Some patients at a time, so that memory does not grow with their number
    step = max(1, _BLOCK // len(other_count))
    for start in range(0, len(count), step):
        some = slice(start, start + step)
        distance = np.abs(np.log(count[some])[:, None] - np.log(other_count))
        farthest = np.partition(distance, nearest - 1, axis=1)[:, [nearest - 1]]
        near = distance <= farthest + 1e-12
        compared = near.sum(1)

        inside = score[some, None]
        places.compared[some] = compared
        places.high[some] = (1 + (near & (other_score >= inside)).sum(1)) / (1 + compared)
        places.low[some] = (1 + (near & (other_score <= inside)).sum(1)) / (1 + compared)
        equal = (other_score == inside).mean(1) / 2
        places.below[some] = (other_score < inside).mean(1) + equal
    return places
