"""A permutation that leaves nothing with its own patient."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, MethodError


def derangement(patients: Ints, draw: np.random.Generator) -> Ints:
    """A random permutation that gives no sample another one of the same patient.

    Args:
        patients: Int[n], patient codes.
        draw: Generator.

    Raises:
        MethodError: One patient has more than half of the samples.
    """
    codes, sizes = np.unique(patients, return_counts=True)
    most = int(sizes.max(initial=0))
    if 2 * most > len(patients):
        raise MethodError(
            Fault(
                "reports cannot be exchanged between the forgotten patients",
                do="Use partners = retain.",
                why=f"one of {len(codes)} patients has {most} of {len(patients)} samples",
            )
        )
    rank = draw.permutation(len(codes))[np.searchsorted(codes, patients)]
    order = np.lexsort(
        (draw.random(len(patients)), rank)
    )  # patient by patient, both in random order
    partner = np.empty_like(order)
    partner[order] = np.roll(order, -most)
    return partner
