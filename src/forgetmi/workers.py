"""Jobs side by side in processes; by default of one thread each: on two cores two such beat one of two threads."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import forkserver, get_context, parent_process, set_forkserver_preload
from typing import Any

from forgetmi.errors import Fault, SpecError

Tell = Callable[[int, int], None]
# Workers are copies of one process that has imported everything, where the system can make such copies safely.
_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
_channel: Any = None


@dataclass(frozen=True)
class Job:
    """One call ``work(*arguments, tell)``.

    Args:
        name: Unique name.
        work: An importable function; its last argument is called with (done, in all).
        arguments: Picklable.
        after: Name of the job that must be finished first, if it is among those given.
    """

    name: str
    work: Callable[..., None]
    arguments: tuple[Any, ...]
    after: str | None = None


def launched() -> int:
    """How many processes torchrun or accelerate started this program in; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def warm_up() -> None:
    """Begin the workers' imports on another core while this process still imports and prepares for itself."""
    if _METHOD == "forkserver" and (os.cpu_count() or 1) > 1:
        set_forkserver_preload(["forgetmi.pipeline"])
        forkserver.ensure_running()


def run_jobs(
    jobs: Sequence[Job], *, workers: int = 0, threads: int = 1, show: Callable[[str, int, int], None] | None = None,
) -> None:
    """Run jobs, several at a time; the first error stops the rest and is raised.

    Args:
        jobs: In order of preference.
        workers: Processes; 0 = one a core, never more than jobs; 1 = in this process, as under a launcher.
        threads: Threads each of them computes with.
        show: Called with (name, done, in all) as jobs go on.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs)) if launched() == 1 else 1
    show = show or (lambda name, done, total: None)
    if workers <= 1:
        use_threads(threads)
        for job in _ordered(jobs):
            job.work(*job.arguments, lambda done, total, name=job.name: show(name, done, total))
        return
    context = get_context(_METHOD)
    channel = context.SimpleQueue()  # written at once: a finished job has told everything
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(channel, threads)) as pool:
        _schedule(pool, jobs, workers, channel, show)


def use_threads(threads: int) -> None:
    """Let this process compute with so many threads.

    Raises:
        SpecError: It is less than one.
    """
    import torch

    if threads < 1:
        raise SpecError(Fault(f"threads is {threads}", do="Choose 1 or more."))
    torch.set_num_threads(threads)


def _ordered(jobs: Sequence[Job]) -> list[Job]:
    """Every job after the one it waits for."""
    return sorted(jobs, key=lambda job: job.after is not None)


def _schedule(
    pool: ProcessPoolExecutor, jobs: Sequence[Job], workers: int, channel: Any, show: Callable[[str, int, int], None],
) -> None:
    waiting, unfinished = list(jobs), {job.name for job in jobs}
    running: dict[Future[None], Job] = {}
    try:
        while waiting or running:
            for job in [job for job in waiting if job.after not in unfinished]:
                if len(running) < workers:
                    waiting.remove(job)
                    running[pool.submit(_work, job)] = job
            done, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
            _drain(channel, show)
            for future in done:
                unfinished.discard(running.pop(future).name)
                future.result()
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise


def _drain(channel: Any, show: Callable[[str, int, int], None]) -> None:
    while not channel.empty():
        show(*channel.get())


def _start(channel: Any, threads: int) -> None:
    """Set up a worker: its threads, and an end when the process that started it is gone (kill -9)."""
    global _channel
    _channel = channel
    use_threads(threads)
    parent = parent_process()  # not os.getppid(): that is the server that forks, which lives as long as its workers

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(job: Job) -> None:
    job.work(*job.arguments, lambda done, total: _channel.put((job.name, done, total)))
