"""Fuzzing: a property is tried on ever new examples until its time is over.

A test that fuzzes is marked slow and takes a few seconds; FORGETMI_FUZZ_SECONDS gives each another time:

    FORGETMI_FUZZ_SECONDS=600 pytest -m slow -k fuzz -s
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning

SECONDS = float(os.environ.get("FORGETMI_FUZZ_SECONDS", "5"))

# Examples between two looks at the clock.
ROUND = settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

EXTREME_NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 10**400, -(10**400), 1e308, 1e-320, 0.5]
)
EXTREME_VALUES = st.one_of(
    EXTREME_NUMBERS,
    st.booleans(),
    st.none(),
    st.text(max_size=8),
    st.floats(),
    st.sampled_from(["", "\x00", "\ud800", "a" * 100_000, "\x1b[31m", "../../etc/passwd"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def fuzz(property_test: Callable[..., Any]) -> None:
    """Try a property, a function under hypothesis's `given`, until the time is over; say how often."""
    tried = 0
    ended = time.monotonic() + SECONDS
    number = 0

    with warnings.catch_warnings():
        # A failing file is long; what went wrong is said all the same
        warnings.simplefilter("ignore", HypothesisWarning)
        while time.monotonic() < ended:
            seed(number)(ROUND(property_test) if number == 0 else property_test)()
            number += 1
            tried += ROUND.max_examples
    print(f"\n{getattr(property_test, '__name__', 'property')}: about {tried:,} examples")


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file's content with bits flipped, parts overwritten, moved, removed or added; or anything."""
    if draw(st.integers(0, 20)) == 0:
        return draw(st.binary(max_size=300))

    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 64)))
        kind = draw(st.sampled_from(["flip", "write", "remove", "add", "zeros", "cut", "copy"]))

        if kind == "flip" and start < len(data):
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "write":
            data[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
        elif kind == "remove":
            del data[start:end]
        elif kind == "add":
            data[start:start] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "zeros":
            data[start:end] = bytes(end - start)
        elif kind == "cut":
            del data[start:]
        elif kind == "copy":
            data[:] = data[end:] + data[start:end] + data[:start]
    return bytes(data)


def replaced(draw: st.DrawFn, plain: Any) -> Any:
    """Plain values, one of which is replaced by an extreme one, removed, or given another name."""
    if isinstance(plain, dict) and plain and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(plain)))
        kind = draw(st.sampled_from(["value", "value", "value", "gone", "name"]))
        changed = dict(plain)
        if kind == "value":
            changed[key] = replaced(draw, plain[key])
        elif kind == "gone":
            del changed[key]
        else:
            changed[draw(st.text(max_size=4))] = changed.pop(key)
        return changed

    if isinstance(plain, list) and plain and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(plain) - 1))
        return [*plain[:at], replaced(draw, plain[at]), *plain[at + 1 :]]
    return draw(EXTREME_VALUES)
