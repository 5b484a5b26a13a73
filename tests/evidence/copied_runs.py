"""Copies of a finished run that a test may alter, in every file or in the record alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forgetmi.core.cohort import Cohort
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.evidence.record_files import OWN_FILES, read_record
from forgetmi.evidence.record_writing import write_record
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import Run

Data = tuple[Cohort, Partition]


def copy(run: Path, to: Path) -> Path:
    """A copy whose files are links, so that a change must replace them."""
    shutil.copytree(run, to / "run", copy_function=os.link)
    return to / "run"


def unrecorded(run: Path, to: Path) -> Path:
    """A copy without a record."""
    copied = copy(run, to)
    for name in OWN_FILES:
        (copied / name).unlink()
    return copied


def unsigned(run: Path, to: Path) -> Path:
    """A copy whose record is not signed."""
    copied = copy(run, to)
    write_record(copied, dataclasses.replace(read_record(copied), signer=""))
    return copied


def states(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Time, inode and bytes of every file below a folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            status = path.stat()
            found[str(path)] = (status.st_mtime_ns, status.st_ino, path.read_bytes())
    return found


def replace(path: Path, content: bytes) -> None:
    """Another file in a file's place; the original of a link stays as it was."""
    path.unlink()
    path.write_bytes(content)


def altered(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the record and everything that depends on it, as somebody without the key could."""
    plain = json.loads((run / "record.json").read_text())
    change(plain)
    replace(run / "record.json", (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())
    replace(run / "record.sha256", read_record(run).sums().encode())


def run_of(folder: Path, data: Data) -> Run:
    """A finished run as the writer of records takes it."""
    cohort, partition = data
    evaluation = Evaluation.from_json((folder / "metrics.json").read_text())
    return Run(RunDirectory(folder), cohort, partition, evaluation)
