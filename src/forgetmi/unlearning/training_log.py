"""Storing a method's log of its original's training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.file_checksum import add_checksum, is_altered
from forgetmi.core.files import full_disk_explained
from forgetmi.core.partial_files import whole_file


def save_log(path: Path, kind: str, values: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all.

    Args:
        path: File to write.
        kind: Which method's log this is.
        values: What `load_log` will return.
    """
    with full_disk_explained(path.name), whole_file(path) as file:
        torch.save({"kind": kind, "values": values}, file)
        file.flush()
        add_checksum(Path(file.name))


def load_log(path: Path, kind: str) -> dict[str, Any]:
    """Read what `save_log` wrote; tensors stay on the disk until they are used.

    Raises:
        MethodError: The file is damaged, or another method's.
    """
    try:
        altered = is_altered(path)

        # Memory-mapped: a log may be larger than memory.
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        stored_kind, values = stored["kind"], stored["values"]
    except Exception as error:
        # A damaged file makes the unpickler fail in any way.
        raise MethodError(
            Fault("the training log cannot be read", where=path.name, why=type(error).__name__)
        ) from error
    if altered:
        raise MethodError(
            Fault(
                "the training log cannot be read",
                where=path.name,
                why="it was changed after it was written",
                do="Restore the file, or train the original again.",
            )
        )
    if stored_kind != kind:
        raise MethodError(
            Fault(f"this is a training log of {stored_kind}, not of {kind}", where=path.name)
        )
    return values
