"""Which of a DICOM film's windows its grey values are shown through."""

from __future__ import annotations

# The first window or table of the file; the film's own range; the rule of the authors' release.
FIRST, NONE, RELEASED = "first", "none", "released"

_MOST_WINDOWS = 99


def is_window(text: str) -> bool:
    """Whether a text names a window: "first", "none", "released", or a number from 1 to 99."""
    if text in (FIRST, NONE, RELEASED):
        return True
    numbered = text.isascii() and text.isdigit() and not text.startswith("0")
    return numbered and int(text[:3]) <= _MOST_WINDOWS
