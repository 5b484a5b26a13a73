"""Files that belong to a checkpoint but lie outside its directory, so that the checkpoint stays as written."""

from __future__ import annotations

from pathlib import Path


def named_after(checkpoint: Path, name: str) -> Path:
    """A file next to a checkpoint directory that bears its name, e.g. ``original.partition.json``."""
    return checkpoint.parent / f"{checkpoint.name}.{name}"


def state_file(checkpoint: Path) -> Path:
    """The progress of an interrupted command; removed when the checkpoint is written."""
    return checkpoint.parent / f".{checkpoint.name}.state.pt"
