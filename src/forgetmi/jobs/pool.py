"""Jobs in parallel processes; by default of one thread each: on two cores two such beat one of two threads."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from logging.handlers import QueueHandler
from multiprocessing import forkserver, get_context, parent_process, set_forkserver_preload
from typing import Any

from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.launch import launched
from forgetmi.core.logs import ROOT, job_of, level_heard, working_on
from forgetmi.jobs.lasting import work_long

logger = logging.getLogger(__name__)

ProgressCallback = Callable[[int, int], None]
JobProgress = Callable[[str, int, int], None]  # with the job's name

# Workers are copies of one process that has imported everything, where the system can make such copies safely.
_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
_POLL_SECONDS = 0.1  # between two looks at the progress of running jobs

# In a worker: where its progress is written to, and how many threads it computes with.
_channel: Any = None
_threads = 1


@dataclass(frozen=True)
class Job:
    """One call ``work(*arguments, progress)``.

    Args:
        name: Unique name.
        work: An importable function; its last argument is called with (done, total).
        arguments: Picklable.
        after: Name of the job that must be finished first, if it is among those given.
        killed: An importable function, called here with ``(*arguments, fault)`` when the process of the job was
            killed, and the other jobs go on; None = that is an error.
        answer: Called here, in this process, with what the work returned.
    """

    name: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    after: str | None = None
    killed: Callable[..., None] | None = None
    answer: Callable[[Any], None] | None = None

    def sent(self) -> Job:
        """The job as another process gets it."""
        return replace(self, answer=None)

    def returned(self, value: Any) -> None:
        """Hand on what the work returned."""
        if self.answer is not None:
            self.answer(value)


def warm_up(*modules: str) -> None:
    """Begin the workers' imports on another core while this process still imports and prepares for itself.

    Only the first call in a process has an effect: workers are copies of one process, which imports once.

    Args:
        modules: Names of the modules that every worker will need.
    """
    if _METHOD == "forkserver" and (os.cpu_count() or 1) > 1:
        set_forkserver_preload(list(modules))
        forkserver.ensure_running()


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int = 0,
    threads: int = 1,
    on_progress: JobProgress | None = None,
) -> None:
    """Run jobs, several at a time; the first error stops the rest and is raised.

    Args:
        jobs: In order of preference.
        workers: Processes; 0 = one a core, never more than jobs; 1 = in this process, as under a launcher. One job
            alone needs no other process, unless it goes on when that is killed.
        threads: Threads each of them computes with.
        on_progress: Called with (name, done, total) as jobs go on.

    Raises:
        ForgetMIError: The process of a job was killed, and the job has no function for that.
        SpecError: There is less than one thread.
    """
    _check(threads)
    if on_progress is None:
        on_progress = _ignore
    count = min(workers or os.cpu_count() or 1, len(jobs))

    # One job needs no process of its own, unless the work goes on when that is killed.
    survives_kill = any(job.killed for job in jobs)
    if launched() > 1 or workers == 1 or (count <= 1 and not survives_kill):
        use_threads(threads)
        for job in _ordered(jobs):
            logger.info("job %s begun", job.name)
            with working_on(job.name):
                job.returned(job.work(*job.arguments, partial(on_progress, job.name)))
            logger.info("job %s finished", job.name)
        return

    # One process a slot; on an error or an interrupt none of them may live on
    logger.info("%d jobs begun in %d worker slots", len(jobs), count)
    slots = [_WorkerSlot(threads) for _ in range(count)]
    try:
        _schedule(slots, jobs, on_progress)
    except BaseException:
        for slot in slots:
            slot.stop()
        raise
    finally:
        for slot in slots:
            slot.close()


def _ignore(name: str, done: int, total: int) -> None:
    """Progress that nobody reads."""


def give_up(job: Job, fault: Fault) -> None:
    """Leave a job whose process is gone: let it record that itself, or stop.

    Args:
        job: The job.
        fault: What became of its process.

    Raises:
        ForgetMIError: The job has no function for that.
    """
    if job.killed is None:
        advice = f"{fault.do} Give the same command again to go on."
        raise ForgetMIError(replace(fault, where=job.name, do=advice))
    job.killed(*job.arguments, fault)


def use_threads(threads: int) -> None:
    """Let this process compute with so many threads.

    Raises:
        SpecError: It is less than one.
    """
    import torch

    _check(threads)
    torch.set_num_threads(threads)


def limit_threads(threads: int) -> None:
    """Let this process compute with so many threads, without waiting for torch where nobody has imported it."""
    # The job's modules are imported by now; a late import reads these
    if "torch" in sys.modules:
        use_threads(threads)
    else:
        os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def _check(threads: int) -> None:
    """There is at least one thread."""
    if threads < 1:
        raise SpecError(Fault(f"threads is {threads}", do="Choose 1 or more."))


def _ordered(jobs: Sequence[Job]) -> list[Job]:
    """Every job after the one it waits for."""
    return sorted(jobs, key=lambda job: job.after is not None)


class _WorkerSlot:
    """One process at a time, in a pool of its own: when it is killed, it is known which job it had."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._open()

    def _open(self) -> None:
        """Prepare a process; it starts with its first job."""
        context = get_context(_METHOD)

        # Written at once: of a finished job all progress is there. Not shared between slots: a process that is killed
        # while it writes keeps the lock.
        self._channel = context.SimpleQueue()
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=context,
            initializer=_start,
            initargs=(self._channel, self._threads, level_heard()),
        )

    def submit(self, job: Job) -> Future[Any]:
        """Start a job."""
        try:
            return self._pool.submit(_work, job.sent())
        except BrokenProcessPool:  # its process was killed while it had nothing to do
            self.renew()
            return self._pool.submit(_work, job.sent())

    def drain(self, on_progress: JobProgress) -> None:
        """Pass on the progress and the lines of the log that the process has written."""
        while not self._channel.empty():
            sent = self._channel.get()
            if isinstance(sent, logging.LogRecord):
                logging.getLogger(sent.name).handle(sent)
            else:
                on_progress(*sent)

    def renew(self) -> int | None:
        """Put another process in the place of one that is gone, and return the exit code of that."""
        gone = list((self._pool._processes or {}).values())

        # The pool's thread reads the exit code, which can be read once.
        self._pool.shutdown()
        self._open()
        return gone[0].exitcode if gone else None

    def stop(self) -> None:
        """End the process, with what it is doing."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()

    def close(self) -> None:
        """Wait for the process to end."""
        self._pool.shutdown()


def _schedule(slots: Sequence[_WorkerSlot], jobs: Sequence[Job], on_progress: JobProgress) -> None:
    """Give waiting jobs to free slots until all are done."""
    free, waiting, unfinished = list(slots), list(jobs), {job.name for job in jobs}
    running: dict[Future[Any], tuple[Job, _WorkerSlot]] = {}
    while waiting or running:
        # Start jobs that wait for no other, as many as there are free slots
        ready = [job for job in waiting if job.after not in unfinished]
        for job in ready[: len(free)]:
            waiting.remove(job)
            slot = free.pop()
            running[slot.submit(job)] = job, slot
            logger.info("job %s begun", job.name)

        # Show progress while waiting for the next to finish
        done, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        for _, slot in running.values():
            slot.drain(on_progress)

        # A job's error is raised here; one whose process was killed may be given up.
        for future in done:
            job, slot = running.pop(future)
            try:
                job.returned(future.result())
                logger.info("job %s finished", job.name)
            except BrokenProcessPool:
                logger.info("job %s ended early: its process is gone", job.name)
                give_up(job, _death(slot.renew()))
                on_progress(job.name, 1, 1)
            free.append(slot)
            unfinished.discard(job.name)


def _death(code: int | None) -> Fault:
    """What the exit code means for a process that did not finish its job."""
    if code is None or code >= 0:
        return Fault(
            "its process ended before its work",
            why=f"exit code {code}",
            do="What it printed may say more.",
        )

    # A negative code is the signal that ended it.
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return Fault(
        "its process was killed", why=name, do="Where memory was short, use fewer --workers."
    )


class _ToParent(QueueHandler):
    """Hands lines of the log, complete and with their job, on to the process that started this one.

    They go by the channel of the slot's progress: one that all workers share would be locked for good when a worker is
    killed while it writes.
    """

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        prepared = super().prepare(record)
        prepared.job = job_of(record)
        return prepared

    def enqueue(self, record: logging.LogRecord) -> None:
        _channel.put(record)


def _start(channel: Any, threads: int, level: int) -> None:
    """Set up a worker: its threads, its log, and an end when the process that started it is gone (kill -9)."""
    global _channel, _threads
    _channel = channel
    _threads = threads
    work_long()

    # Nothing is sent that nobody hears
    if level:
        package = logging.getLogger(ROOT)
        package.addHandler(_ToParent(channel))
        package.setLevel(level)

    # Not os.getppid(): that is the server that forks, which lives as long as its workers.
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(job: Job) -> Any:
    """A job in a worker."""
    limit_threads(_threads)

    def progress(done: int, total: int) -> None:
        _channel.put((job.name, done, total))

    try:
        with working_on(job.name):
            return job.work(*job.arguments, progress)
    except Exception as error:
        # An error that cannot be pickled would break the pool as a killed process does: its name is sent.
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # noqa: BLE001 - whatever pickle raises
            raise RuntimeError(type(error).__name__) from error
        raise
