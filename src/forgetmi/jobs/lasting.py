"""What a process that computes for minutes sets once: modules that are never collected, memory that is kept."""

from __future__ import annotations

import ctypes
import gc
import sys

# Options of glibc's mallopt, see its manual page, and the block up to which freed memory is kept
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30


def work_long() -> None:
    """Prepare this process for many training steps; results are the same to the bit.

    What was imported lives as long as the process, so that the garbage collector need not walk over it again and again.
    A step frees the memory that the next one asks for: the C library keeps it, where it would give it back to the
    system, which hands it out page by page and cleared.
    """
    gc.collect()
    gc.freeze()

    # Another C library has no such option; then memory comes and goes
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
