"""Whether a launcher started this program; needs no torch, so that every command can look."""

from __future__ import annotations

import os


def launched() -> int:
    """Number of processes in which torchrun or accelerate started this program; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))
