"""Files that belong to a checkpoint but lie outside its directory, so that the checkpoint stays as written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgetmi.core.output import output_lock
from forgetmi.core.partial_files import remove_partials, remove_partials_of

# What lies next to a checkpoint and bears its name
OPTIONS, PARTITION, TRACE = "options.yaml", "partition.json", "trace.json"
DUPLICATES, LOG, TRACKING = "duplicates.json", "log", "tracking"
ADAPTERS = "adapters"


def named_after(checkpoint: Path, name: str) -> Path:
    """A file next to a checkpoint directory that bears its name, e.g. ``original.partition.json``."""
    return checkpoint.parent / f"{checkpoint.name}.{name}"


def state_file(checkpoint: Path) -> Path:
    """The progress of an interrupted command; removed when the checkpoint is written."""
    return checkpoint.parent / f".{checkpoint.name}.state.pt"


@contextmanager
def checkpoint_lock(checkpoint: Path) -> Iterator[None]:
    """Hold a checkpoint's name against other processes, and remove what killed ones left half-written of it.

    Args:
        checkpoint: Its directory; it need not exist.

    Raises:
        SpecError: Another process holds it, or it cannot be written.
    """
    with output_lock(checkpoint, folder=True):
        own = [named_after(checkpoint, name) for name in (OPTIONS, PARTITION, TRACE, DUPLICATES)]
        adapters = named_after(checkpoint, ADAPTERS)
        for path in (checkpoint, adapters, state_file(checkpoint), *own):
            remove_partials_of(path)

        # A training log is a file or a folder
        log = named_after(checkpoint, LOG)
        remove_partials_of(log)
        if log.is_dir():
            remove_partials(log)
        yield
