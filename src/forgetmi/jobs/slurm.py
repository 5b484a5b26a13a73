"""Jobs in a SLURM queue: an array for each level of the job graph, handed over at once and watched from here."""

from __future__ import annotations

import logging
import secrets
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.files import default_cache
from forgetmi.jobs.pool import Job, give_up
from forgetmi.jobs.slurm_files import Outcome, QueueFolder, Sent, token_of
from forgetmi.jobs.slurm_queue import cancel, check_slurm, queued, submit

logger = logging.getLogger(__name__)

# Folder of the cache that all machines see.
FOLDER = "slurm-jobs"

# Most jobs of one array: clusters usually allow 1001.
_MOST = 1000

# How often a job that ends without an answer is tried; one that SLURM itself puts back into the queue counts once.
KILLED = 2

# Seconds between two looks at the queue. How often a job that is gone is looked for: shared folders show files late.
_POLL_SECONDS = 10.0
_LOOKS = 3

# How many looks in a row SLURM may leave unanswered: an hour.
_UNANSWERED = 360

JobProgress = Callable[[str, int, int], None]


def run_on_slurm(
    jobs: Sequence[Job],
    *,
    workers: int = 0,
    threads: int = 1,
    gpus: float = 0.0,
    on_progress: JobProgress | None = None,
) -> None:
    """Run jobs as arrays of a SLURM queue.

    One array has the jobs that wait for no other, a further one those that wait for them, with a dependency: all are
    handed over at once. SLURM requeues jobs whose machine is lost; one that ends without an answer is tried again. The
    same command given again after it was killed finds its jobs in the queue and waits for them. An interrupt takes them
    out. All machines must see the working folder, the cache and this Python under the same names.

    Args:
        jobs: In order of preference.
        workers: Most jobs of an array that run at once; 0 = as many as the cluster gives.
        threads: Cores a job, and threads it computes with.
        gpus: GPUs a job, a whole number.
        on_progress: Called with (name, 1, 1) when a job is done.

    Raises:
        SpecError: SLURM is not installed, or a part of a GPU is asked for.
        ForgetMIError: SLURM refused the jobs or stopped answering, or a job ended too often without an answer and has
            no function for that.
    """
    if not jobs:
        return
    check_slurm()
    if gpus != int(gpus):
        raise SpecError(
            Fault(
                f"{gpus} GPUs a job",
                where="--gpus-per-job",
                why="SLURM gives whole GPUs",
                do="Choose 0, 1, 2 or more.",
            )
        )

    watch = _Watch(jobs, workers=workers, threads=threads, gpus=int(gpus), on_progress=on_progress)
    watch.find_queued()
    try:
        while watch.unfinished:
            watch.submit_missing()
            time.sleep(_POLL_SECONDS)
            watch.look()
    except _SilentError:
        # Nobody knows what runs: jobs and files stay for the same command given again
        raise
    except BaseException:
        if watch.cancel():
            watch.clean_up()
        raise
    watch.clean_up()


class _SilentError(ForgetMIError):
    """SLURM has not answered for long."""


class _Watch:
    """The jobs of one command, and where each is."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        workers: int,
        threads: int,
        gpus: int,
        on_progress: JobProgress | None,
    ) -> None:
        self._options = ["--requeue", "--job-name=forgetmi", f"--cpus-per-task={threads}"]
        if gpus:
            self._options.append(f"--gres=gpu:{gpus}")
        self._workers, self._threads = workers, threads
        self._on_progress = on_progress

        self._files = QueueFolder(default_cache().absolute() / FOLDER)
        self._files.remove_abandoned()
        self._tokens = {job.name: token_of(job) for job in jobs}
        self.unfinished = {job.name: job for job in jobs}

        self._places: dict[str, str] = {}  # of the jobs that were handed over
        self._arrays: list[str] = []
        self._gone: Counter[str] = Counter()  # looks since a job left the queue without an answer
        self._tries: Counter[str] = Counter()
        self._silence = 0

    def find_queued(self) -> None:
        """Take over jobs that the same command, killed since, had handed over."""
        while (queue := queued()) is None:
            self._unanswered()
            time.sleep(_POLL_SECONDS)

        for name, token in self._tokens.items():
            place = self._files.place(token)
            if place in queue:
                self._places[name] = place
                logger.info("job %s is in the queue already", name)
            else:
                self._files.drop(token)

    def submit_missing(self) -> None:
        """Hand over every job that is not in the queue, level by level."""
        missing = [job for job in self.unfinished.values() if job.name not in self._places]
        names = {job.name for job in missing}

        # Who waits for one of these comes in a later array; who waits for one in the queue, when that is done
        level = [job for job in missing if job.after not in self.unfinished]
        before: list[str] = []
        while level:
            awaited = {job.after for job in missing}
            first = [job for job in level if job.name in awaited]
            others = [job for job in level if job.name not in awaited]
            arrays = self._submit(first, before)
            self._submit(others, before)

            done = {job.name for job in first} & names
            level = [job for job in missing if job.after in done]
            before = arrays

    def look(self) -> None:
        """See which jobs have ended, and how."""
        queue = queued()
        if queue is None:
            self._unanswered()
            return
        self._silence = 0

        for name in list(self._places):
            outcome = self._files.outcome(self._tokens[name])
            if outcome is not None:
                self._end(self.unfinished[name], outcome)
                continue

            # Neither in the queue nor with an answer, several times in a row
            self._gone[name] = 0 if self._places[name] in queue else self._gone[name] + 1
            if self._gone[name] >= _LOOKS:
                self._lost(self.unfinished[name])

    def cancel(self) -> bool:
        """Take all jobs out of the queue; whether SLURM took the order."""
        return cancel(self._places.values())

    def clean_up(self) -> None:
        """Remove the files of all jobs and arrays."""
        for token in self._tokens.values():
            self._files.drop(token)
        for array in self._arrays:
            self._files.drop_array(array)

    def _unanswered(self) -> None:
        """Count a look that SLURM left unanswered."""
        self._silence += 1
        if self._silence > _UNANSWERED:
            advice = "Give the same command again when it does: its jobs go on."
            raise _SilentError(Fault("SLURM does not answer", where="squeue", do=advice))

    def _submit(self, jobs: Sequence[Job], before: Sequence[str]) -> list[str]:
        """Hand over jobs in arrays that begin after others have ended; the numbers of the arrays."""
        numbers = []
        for start in range(0, len(jobs), _MOST):
            part = jobs[start : start + _MOST]
            for job in part:
                waits_for = self._tokens.get(job.after or "", "")
                self._files.write_job(
                    self._tokens[job.name], Sent(job.sent(), waits_for, self._threads)
                )

            # One script for all; SLURM tells each which job it is
            array = secrets.token_hex(8)
            self._arrays.append(array)
            command = [
                sys.executable,
                "-m",
                "forgetmi.jobs.slurm_task",
                str(self._files.root),
                array,
            ]
            script = f"#!/bin/sh\ncd {shlex.quote(str(Path.cwd()))} && exec {shlex.join(command)}\n"
            path = self._files.write_array(array, [self._tokens[job.name] for job in part], script)

            at_once = f"%{self._workers}" if self._workers else ""
            options = [
                *self._options,
                f"--array=0-{len(part) - 1}{at_once}",
                f"--output={self._files.log()}",
            ]
            if before:
                options.append(f"--dependency=afterany:{':'.join(before)}")
            number = submit(options, str(path))
            numbers.append(number)

            for place, job in enumerate(part):
                self._places[job.name] = f"{number}_{place}"
                self._files.write_place(self._tokens[job.name], f"{number}_{place}")
            logger.info("array %s with %d jobs handed over", number, len(part))
        return numbers

    def _end(self, job: Job, outcome: Outcome) -> None:
        """A job has an answer."""
        del self._places[job.name]
        if outcome.error is not None:
            raise outcome.error

        # It was begun too early: it is handed over again when the job before it is done
        if outcome.waits:
            self._files.drop_outcome(self._tokens[job.name])
            return

        job.returned(outcome.value)
        logger.info("job %s finished", job.name)
        self._done(job)

    def _lost(self, job: Job) -> None:
        """A job left the queue without an answer: it is tried again, or given up."""
        logger.info("job %s ended early: its process is gone", job.name)
        del self._places[job.name]
        self._gone[job.name] = 0
        self._tries[job.name] += 1
        if self._tries[job.name] < KILLED:
            return

        fault = Fault(
            "its process was killed",
            why=f"{KILLED} times",
            do="It may need more memory or time: set SBATCH_MEM_PER_CPU or SBATCH_TIMELIMIT.",
        )
        give_up(job, fault)
        self._files.write_outcome(self._tokens[job.name], Outcome())
        self._done(job)

    def _done(self, job: Job) -> None:
        del self.unfinished[job.name]
        if self._on_progress is not None:
            self._on_progress(job.name, 1, 1)
