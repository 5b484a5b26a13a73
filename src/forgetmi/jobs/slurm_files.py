"""Files through which the command and its jobs in a SLURM queue know of each other."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from forgetmi.core.errors import Fault, ForgetMIError
from forgetmi.core.files import private_folder, write_bytes, write_text
from forgetmi.jobs.pool import Job

# Seconds after which files of a command that was killed are of no use.
_ABANDONED_S = 30 * 86_400.0

_JOB, _PLACE, _OUTCOME = ".job", ".place", ".outcome"


@dataclass(frozen=True)
class Outcome:
    """How a job ended in its own process.

    Args:
        value: What its work returned.
        error: What its work raised; None = nothing.
        waits: Whether it was not begun, because the job before it is not finished.
    """

    value: Any = None
    error: Exception | None = None
    waits: bool = False


@dataclass(frozen=True)
class Sent:
    """A job as it waits in its file.

    Args:
        job: The job.
        before: Token of the job that must be finished first; "" = none.
        threads: Threads it computes with.
    """

    job: Job
    before: str
    threads: int


def token_of(job: Job) -> str:
    """A name for a job's files that the same job has in every process."""
    work = f"{job.work.__module__}.{job.work.__qualname__}"

    # numpy leaves out the middle of long arrays, and digits, unless it is told not to
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        arguments = repr(job.arguments)
    return hashlib.sha256(f"{work}\0{job.name}\0{arguments}".encode()).hexdigest()[:32]


@final
class QueueFolder:
    """The files of one user's jobs, which nobody else can read or write.

    Args:
        root: The folder; it is made. All machines see it under this name.

    Raises:
        ForgetMIError: It belongs to somebody else.
    """

    def __init__(self, root: Path) -> None:
        self.root = private_folder(root)
        if hasattr(os, "getuid") and self.root.stat().st_uid != os.getuid():
            raise ForgetMIError(
                Fault(
                    "the folder of jobs belongs to another user",
                    where="the cache",
                    do="Name a cache of your own with FORGETMI_CACHE.",
                )
            )

    def log(self) -> str:
        """Pattern of the files in which SLURM keeps what jobs print."""
        return str(self.root / "log-%A-%a.txt")

    def write_array(self, name: str, tokens: Sequence[str], script: str) -> Path:
        """Write which jobs an array has, and the script that SLURM runs for each.

        Returns:
            The script.
        """
        write_text(self.root / f"{name}.array", "\n".join(tokens) + "\n")
        path = self.root / f"{name}.sh"
        write_text(path, script)
        return path

    def read_array(self, name: str) -> list[str]:
        """Tokens of the jobs of an array, in their order."""
        return (self.root / f"{name}.array").read_text(encoding="utf-8").split()

    def write_job(self, token: str, sent: Sent) -> None:
        """Write what a job needs, and drop what an earlier one of that name left."""
        self.drop(token)
        write_bytes(self.root / f"{token}{_JOB}", pickle.dumps(sent), private=True)

    def read_job(self, token: str) -> Sent:
        """A job, as `write_job` wrote it.

        Raises:
            OSError: It is not there.
        """
        return pickle.loads((self.root / f"{token}{_JOB}").read_bytes())

    def write_place(self, token: str, place: str) -> None:
        """Keep where in SLURM's queue a job is, for the same command given again."""
        write_text(self.root / f"{token}{_PLACE}", place)

    def place(self, token: str) -> str:
        """Where in SLURM's queue a job was put; "" = nobody knows."""
        with suppress(OSError):
            return (self.root / f"{token}{_PLACE}").read_text(encoding="utf-8")
        return ""

    def write_outcome(self, token: str, outcome: Outcome) -> None:
        """Keep how a job ended; an error that cannot be sent becomes its name."""
        try:
            content = pickle.dumps(outcome)
            pickle.loads(content)
        except Exception:  # noqa: BLE001 - whatever pickle raises
            content = pickle.dumps(Outcome(error=RuntimeError(type(outcome.error).__name__)))
        write_bytes(self.root / f"{token}{_OUTCOME}", content, private=True)

    def outcome(self, token: str) -> Outcome | None:
        """How a job ended; None = it has not."""
        try:
            content = (self.root / f"{token}{_OUTCOME}").read_bytes()
        except OSError:
            return None
        return pickle.loads(content)

    def finished(self, token: str) -> bool:
        """Whether a job has ended well."""
        outcome = self.outcome(token)
        return outcome is not None and outcome.error is None and not outcome.waits

    def drop_outcome(self, token: str) -> None:
        """Forget how a job ended."""
        (self.root / f"{token}{_OUTCOME}").unlink(missing_ok=True)

    def drop(self, token: str) -> None:
        """Remove the files of a job."""
        for ending in (_JOB, _PLACE, _OUTCOME):
            (self.root / f"{token}{ending}").unlink(missing_ok=True)

    def drop_array(self, name: str) -> None:
        """Remove the files of an array; what its jobs printed stays."""
        for ending in (".array", ".sh"):
            (self.root / f"{name}{ending}").unlink(missing_ok=True)

    def remove_abandoned(self) -> None:
        """Remove what commands left that were killed long ago."""
        for path in self.root.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.unlink()
