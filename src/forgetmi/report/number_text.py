"""Numbers, counts and texts from outside as they stand on a page."""

from __future__ import annotations

import re

from forgetmi.core.scores import Score

_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"  # not text
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
_UNWANTED = re.compile(f"[{_CONTROL}{_DIRECTION}]")


def clean(text: str) -> str:
    """Text from outside without control characters, halves of letters and marks that turn the reading direction."""
    return _UNWANTED.sub("", text)


def brief(text: str, letters: int = 22) -> str:
    """Text that fits next to a figure; the end of a longer one is cut."""
    whole = " ".join(clean(text).split())
    if len(whole) <= letters:
        return whole
    return whole[: letters - 1] + "…"


def plain(value: float, digits: int = 2) -> str:
    """A number as text, without a minus before zero."""
    text = f"{value:.{digits}f}"

    # -0.00 is 0.00
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """A difference as text, with its sign."""
    text = plain(value, digits)
    if text.startswith("−") or float(text) == 0:
        return text
    return f"+{text}"


def percent(share: float) -> str:
    """A share as a whole number of hundredths, without the sign."""
    return plain(100 * share, 0)


def with_interval(score: Score, digits: int = 2) -> str:
    """A value with its 95 % interval in words."""
    value = plain(score.value, digits)
    if score.interval is None:
        return value

    low = plain(score.interval[0], digits)
    high = plain(score.interval[1], digits)
    return f"{value} (95 % interval {low} to {high})"


def many(number: int, noun: str) -> str:
    """A count with its noun: "1 patient", "1,198 images", "3 studies"."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("dy"):
        return f"{number:,} {noun.removesuffix('y')}ies"
    return f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use."""
    if seconds < 10:
        return f"{seconds:.1f} seconds"
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def memory(size: int) -> str:
    """Bytes as MiB or GiB."""
    if size < 2**30:
        return f"{size / 2**20:,.0f} MiB"
    return f"{size / 2**30:.1f} GiB"
