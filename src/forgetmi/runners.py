"""Where jobs run: processes of this machine, or a Ray cluster that may span many."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forgetmi.errors import Fault, SpecError
from forgetmi.spec import RunSpec
from forgetmi.workers import Job, run_jobs, use_threads

Show = Callable[[str, int, int], None]
# What a job on another machine must know of the environment of this process.
INHERITED = ("FORGETMI_CACHE", "FORGETMI_KEY_FILE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")


def run_all(jobs: Sequence[Job], spec: RunSpec, *, show: Show | None = None) -> None:
    """Run jobs where a specification says; the first error stops the rest and is raised.

    Args:
        jobs: In order of preference.
        spec: Its runner, and the number of workers or the address.
        show: Called with (name, done, in all) as jobs go on; on Ray when a job is done.
    """
    if spec.runner == "ray":
        run_on_ray(jobs, address=spec.address, gpus=spec.gpus_per_job, threads=spec.threads, show=show)
    else:
        run_jobs(jobs, workers=spec.workers, threads=spec.threads, show=show)


def run_on_ray(
    jobs: Sequence[Job], *, address: str = "", gpus: float = 0.0, threads: int = 1, show: Show | None = None,
) -> None:
    """Run jobs as Ray tasks; a job whose machine is lost runs again elsewhere.

    Jobs find what is finished already and go on where they were interrupted, so one that runs again does nothing
    twice. All machines must see the same files under the same names.

    Args:
        jobs: In order of preference.
        address: Of a running cluster ("auto" = the one of this machine); empty = a local one for these jobs.
        gpus: GPUs a job, or a fraction of one.
        threads: Cores a job, and threads it computes with.
        show: Called with (name, 1, 1) when a job is done.

    Raises:
        SpecError: Ray is not installed, or there is no cluster at the address.
    """
    if not jobs:
        return
    ray = _connect(address)
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    task = ray.remote(_perform).options(num_cpus=threads, num_gpus=gpus, max_retries=-1)
    names: dict[Any, str] = {}
    try:
        refs: dict[str, Any] = {}
        for job in _in_order(jobs):
            refs[job.name] = task.remote(job, environment, str(Path.cwd()), threads, refs.get(job.after or ""))
            names[refs[job.name]] = job.name
        while names:
            done, _ = ray.wait(list(names), timeout=1.0)
            for ref in done:
                ray.get(ref)
                if show is not None:
                    show(names[ref], 1, 1)
                del names[ref]
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    finally:
        for ref in names:
            ray.cancel(ref, force=True)
        ray.shutdown()


def _connect(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no network unless asked
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SpecError(Fault("Ray is not installed", where="--runner ray",
                              do="Install it with  pip install 'forgetmi[ray]'.")) from error
    try:
        if address:
            ray.init(address=address, log_to_driver=False)
        else:
            ray.init(include_dashboard=False, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise SpecError(Fault("there is no Ray cluster at this address", where="--address",
                              why=type(error).__name__, do="Start one with  ray start --head.")) from error
    return ray


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    """Every job after the one it waits for."""
    found: dict[str, Job] = {}
    waiting, names = list(jobs), {job.name for job in jobs}
    while waiting:
        ready = [job for job in waiting if job.after not in names or job.after in found]
        found |= {job.name: job for job in ready}
        waiting = [job for job in waiting if job.name not in found]
    return list(found.values())


def _perform(job: Job, environment: dict[str, str], folder: str, threads: int, before: Any) -> None:
    """One job in a Ray worker; ``before`` is only waited for."""
    os.environ.update(environment)
    os.chdir(folder)
    use_threads(threads)
    job.work(*job.arguments, lambda done, total: None)
