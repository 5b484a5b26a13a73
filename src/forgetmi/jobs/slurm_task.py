"""One job of an array in a SLURM queue: ``python -m forgetmi.jobs.slurm_task FOLDER ARRAY``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from forgetmi.core.logs import working_on
from forgetmi.jobs.pool import limit_threads
from forgetmi.jobs.slurm_files import Outcome, QueueFolder


def main(folder: Path, array: str, number: int) -> None:
    """Do one job and keep how it ended.

    A job that SLURM puts back into the queue, because its machine was lost or somebody else wanted it, begins again: it
    finds what it had finished.

    Args:
        folder: Where the files of jobs are.
        array: Name of the array.
        number: Place of the job in it.
    """
    files = QueueFolder(folder)
    token = files.read_array(array)[number]
    sent = files.read_job(token)

    # The job before may have been killed, and will be tried again: so will this one
    if sent.before and not files.finished(sent.before):
        files.write_outcome(token, Outcome(waits=True))
        return

    limit_threads(sent.threads)
    try:
        with working_on(sent.job.name):
            value = sent.job.work(*sent.job.arguments, _ignore)
    except Exception as error:  # noqa: BLE001 - whatever it is, the command raises it
        files.write_outcome(token, Outcome(error=error))
    else:
        files.write_outcome(token, Outcome(value))


def _ignore(done: int, total: int) -> None:
    """Progress that nobody reads: the command is told when the job is done."""


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(os.environ["SLURM_ARRAY_TASK_ID"]))
