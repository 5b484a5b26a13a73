"""A permutation after which no sample has a partner of its own patient."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, MethodError


def derangement(patients: Ints, draw: np.random.Generator) -> Ints:
    """A random permutation that gives no sample another one of the same patient.

    Args:
        patients: Int[n], patient codes.
        draw: Generator.

    Returns:
        Int[n], for each sample the position of its partner.

    Raises:
        MethodError: One patient has more than half of the samples.

    Examples:
        >>> derangement(np.array([4, 9]), np.random.default_rng(0)).tolist()
        [1, 0]
    """
    codes, sizes = np.unique(patients, return_counts=True)
    largest = int(sizes.max(initial=0))
    if 2 * largest > len(patients):
        raise MethodError(
            Fault(
                "reports cannot be exchanged between the forgotten patients",
                do="Use partners = retain.",
                why=f"one of {len(codes)} patients has {largest} of {len(patients)} samples",
            )
        )

    # Samples patient by patient: patients in random order, and so are the samples of each.
    rank_of_code = draw.permutation(len(codes))
    rank = rank_of_code[np.searchsorted(codes, patients)]
    order = np.lexsort((draw.random(len(patients)), rank))

    # A shift by the largest patient's number of samples leaves every patient's block.
    partner = np.empty_like(order)
    partner[order] = np.roll(order, -largest)
    return partner
