"""How often each patient is drawn in each resample: a byte each, drawn once and kept for whoever asks again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.unsignedinteger]

_REMEMBERED = 2**26  # bytes of earlier resamples that are kept
_AT_ONCE = 2_000_000  # numbers that are drawn at once, 8 bytes each

# Resamples by what they follow from: every model and channel of an audit is measured on the same ones
_EARLIER: OrderedDict[tuple[str, int, int], tuple[Counts, Any]] = OrderedDict()
_EARLIER_LOCK = Lock()


def multiplicity(count: int, resamples: int, generator: np.random.Generator) -> Counts:
    """Counts of patients drawn with replacement, or those drawn before from a generator in this very state.

    Args:
        count: How many patients, p.
        resamples: How many resamples, b.
        generator: Moves on by one resample each, whether anything is drawn or not.

    Returns:
        UInt[1 + b, p], which nobody may write to; the first row is all ones, the data as they are.
    """
    # The state of this kind is a few numbers, so that its text says all of it
    bits = generator.bit_generator
    if not isinstance(bits, np.random.PCG64):
        return _drawn(count, resamples, generator)

    key = (repr(bits.state), count, resamples)
    with _EARLIER_LOCK:
        if key in _EARLIER:
            _EARLIER.move_to_end(key)
            counts, bits.state = _EARLIER[key]
            return counts

    counts = _drawn(count, resamples, generator)

    # The oldest ones make room
    with _EARLIER_LOCK:
        _EARLIER[key] = counts, dict(bits.state)
        while sum(earlier.nbytes for earlier, _ in _EARLIER.values()) > _REMEMBERED:
            _EARLIER.popitem(last=False)
    return counts


def _drawn(count: int, resamples: int, generator: np.random.Generator) -> Counts:
    """See `multiplicity`."""
    counts: Counts = np.ones((1 + resamples, count), np.uint8)

    # Some resamples at a time are the same draws as all at once
    step = max(1, _AT_ONCE // max(1, count))
    for start in range(1, 1 + resamples if count else 0, step):
        size = min(step, 1 + resamples - start)
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=size)
        if counts.dtype == np.uint8 and drawn.max() > np.iinfo(np.uint8).max:
            counts = counts.astype(np.uint32)
        counts[start : start + size] = drawn

    counts.flags.writeable = False
    return counts
