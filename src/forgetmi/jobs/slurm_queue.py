"""SLURM's own commands: give an array of jobs to the queue, look what is in it, take jobs out."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.printable import printable

# How long one of its commands may take, seconds.
_PATIENCE_S = 120


def check_slurm() -> None:
    """Refuse to go on where SLURM is not installed.

    Raises:
        SpecError: It is not.
    """
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise SpecError(
            Fault(
                "SLURM is not installed here",
                where="--runner slurm",
                why=f"there is no command {', '.join(missing)}",
                do="Give the command where jobs are submitted, or choose --runner local.",
            )
        )


def submit(options: Sequence[str], script: str) -> str:
    """Give an array to the queue; its number.

    Args:
        options: Of sbatch. Account, partition, time and memory come from SBATCH_ACCOUNT and the like.
        script: What each of its jobs runs.

    Raises:
        ForgetMIError: SLURM refused it.
    """
    answer = _call(["sbatch", "--parsable", *options, script])
    number = answer.stdout.strip().split(";")[0]
    if answer.returncode != 0 or not number.isdigit():
        raise ForgetMIError(
            Fault(
                "SLURM refused the jobs",
                where="sbatch",
                why=_last_line(answer.stderr),
                do="Set what your cluster asks for, such as SBATCH_ACCOUNT, SBATCH_PARTITION and SBATCH_TIMELIMIT.",
            )
        )
    return number


def queued() -> set[str] | None:
    """Places of this user's jobs that wait or run, as ARRAY_NUMBER; None = SLURM does not answer now."""
    try:
        options = ["--noheader", "--array", "--format=%F_%K %t", f"--user={getpass.getuser()}"]
        answer = _call(["squeue", *options])
    except (ForgetMIError, OSError):
        return None
    if answer.returncode != 0:
        return None

    # A job that is being cleaned up after has ended
    places = set()
    for line in answer.stdout.splitlines():
        place, _, state = line.strip().partition(" ")
        if state.strip() not in ("CD", "CA", "F", "TO", "OOM", "NF", "DL", "BF"):
            places.add(place)
    return places


def cancel(places: Iterable[str]) -> bool:
    """Take jobs out of the queue, whether they wait or run.

    Returns:
        Whether SLURM took the order; where it does not, the jobs may go on.
    """
    chosen = sorted(places)
    if not chosen:
        return True
    try:
        _call(["scancel", *chosen])
    except (ForgetMIError, OSError):
        return False
    return True


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What a command of SLURM answers.

    Raises:
        ForgetMIError: It does not answer.
    """
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ForgetMIError(
            Fault("SLURM does not answer", where=command[0], do="Give the same command again.")
        ) from None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return printable(lines[-1]) if lines else ""
