"""Jobs as Ray tasks, on a cluster that may span many machines."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.jobs.pool import Job, give_up, use_threads

logger = logging.getLogger(__name__)

# What a job on another machine gets of the environment of this process.
INHERITED = ("FORGETMI_CACHE", "FORGETMI_KEY_FILE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
# How often a job is tried before it is taken for the cause: when its machine is lost, and when its process is killed,
# which a machine that is shut down does first.
LOST, KILLED = 5, 2
_POLL_SECONDS = 1.0


def run_on_ray(
    jobs: Sequence[Job],
    *,
    address: str = "",
    gpus: float = 0.0,
    threads: int = 1,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Run jobs as Ray tasks; a job whose machine is lost runs again elsewhere.

    Jobs find what is finished already and go on where they were interrupted, so one that runs again does nothing
    twice. All machines must see the same files under the same names.

    Args:
        jobs: In order of preference.
        address: Of a running cluster ("auto" = the one of this machine); empty = a local one for these jobs.
        gpus: GPUs a job, or a fraction of one.
        threads: Cores a job, and threads it computes with.
        on_progress: Called with (name, 1, 1) when a job is done.

    Raises:
        SpecError: Ray is not installed, or there is no cluster at the address.
        ForgetMIError: The process of a job was killed, and the job has no function for that.
    """
    if not jobs:
        return

    ray = _connect(address)
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    folder = str(Path.cwd())

    # Ray's own retries make no difference between a machine that was lost and a job that kills its process each time.
    task = ray.remote(_perform).options(num_cpus=threads, num_gpus=gpus, max_retries=0)
    waiting, unfinished = list(jobs), {job.name for job in jobs}
    running: dict[Any, Job] = {}
    ends = Counter[tuple[str, int]]()  # by job and by how often such an end may be
    try:
        while waiting or running:
            # Submit every job that waits for no other
            for job in [job for job in waiting if job.after not in unfinished]:
                waiting.remove(job)
                running[task.remote(job.sent(), environment, folder, threads)] = job
                logger.info("job %s begun", job.name)

            done, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
            for ref in done:
                job = running.pop(ref)

                # A job whose process ended too early runs again, until that has happened too often.
                end, value = _end(ray, ref)
                if end is not None:
                    fault, tries = end
                    logger.info("job %s ended early: its process is gone", job.name)
                    ends[job.name, tries] += 1
                    if ends[job.name, tries] < tries:
                        waiting.append(job)
                        continue
                    give_up(job, fault)
                else:
                    job.returned(value)
                    logger.info("job %s finished", job.name)

                unfinished.discard(job.name)
                if on_progress is not None:
                    on_progress(job.name, 1, 1)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    finally:
        for ref in running:
            ray.cancel(ref, force=True)
        ray.shutdown()


def _connect(address: str) -> Any:
    """Ray, connected to a cluster.

    Raises:
        SpecError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no network unless asked
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SpecError(
            Fault(
                "Ray is not installed",
                where="--runner ray",
                do="Install it with  pip install 'forgetmi[ray]'.",
            )
        ) from error

    try:
        if address:
            ray.init(address=address, log_to_driver=False)
        else:
            # "local": without an address Ray looks for a cluster of this machine, and waits long for one that is gone.
            ray.init(address="local", include_dashboard=False, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise SpecError(
            Fault(
                "there is no Ray cluster at this address",
                where="--address",
                why=type(error).__name__,
                do="Start one with  ray start --head.",
            )
        ) from error
    return ray


def _end(ray: Any, ref: Any) -> tuple[tuple[Fault, int] | None, Any]:
    """What ended the process of a job before its work, and how often that may be; None and what the job returned."""
    memory = "Where memory was short, let fewer jobs share a machine (--threads)."
    try:
        return None, ray.get(ref)
    except ray.exceptions.NodeDiedError:
        advice = "The job may be what ends machines."
        return (Fault("its machine was lost", why=f"{LOST} times", do=advice), LOST), None
    except ray.exceptions.OutOfMemoryError:
        reason = f"out of memory, {KILLED} times"
        return (Fault("its process was killed", why=reason, do=memory), KILLED), None
    except ray.exceptions.WorkerCrashedError:
        return (Fault("its process was killed", why=f"{KILLED} times", do=memory), KILLED), None


def _perform(job: Job, environment: dict[str, str], folder: str, threads: int) -> Any:
    """One job in a Ray worker."""
    os.environ.update(environment)
    os.chdir(folder)
    use_threads(threads)
    return job.work(*job.arguments, lambda done, total: None)
