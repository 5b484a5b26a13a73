"""Where jobs run: processes of this machine, a Ray cluster of several machines, or a SLURM queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from forgetmi.jobs.pool import Job, run_jobs
from forgetmi.jobs.ray import run_on_ray
from forgetmi.jobs.slurm import run_on_slurm

# More threads or processes than any machine has: the system would refuse them late, or stop answering
MOST_THREADS, MOST_WORKERS = 1024, 4096


@dataclass(frozen=True)
class Resources:
    """Where jobs run and how much of it each may use.

    Args:
        runner: local (processes of this machine), ray or slurm.
        workers: Parallel processes; 0 = one a core, at most as many as jobs. Ray decides for itself; of SLURM so many
            jobs of an array run at once, 0 = as many as it gives.
        threads: Threads a job computes with, >= 1.
        address: Of a running Ray cluster (auto = this machine's); empty = one is started for these jobs.
        gpus_per_job: GPUs a job, >= 0; on Ray also a fraction of one.
    """

    runner: Literal["local", "ray", "slurm"] = "local"
    workers: int = 0
    threads: int = 1
    address: str = ""
    gpus_per_job: float = 0.0


def run_all(
    jobs: Sequence[Job],
    resources: Resources,
    *,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Run jobs on the given resources; the first error stops the rest and is raised.

    Args:
        jobs: In order of preference.
        resources: Where they run.
        on_progress: Called with (name, done, total) as jobs go on; on Ray and SLURM when a job is done.
    """
    # A cluster schedules jobs by itself; here so many processes take them.
    if resources.runner == "ray":
        run_on_ray(
            jobs,
            address=resources.address,
            gpus=resources.gpus_per_job,
            threads=resources.threads,
            on_progress=on_progress,
        )
        return

    if resources.runner == "slurm":
        run_on_slurm(
            jobs,
            workers=resources.workers,
            threads=resources.threads,
            gpus=resources.gpus_per_job,
            on_progress=on_progress,
        )
        return

    run_jobs(jobs, workers=resources.workers, threads=resources.threads, on_progress=on_progress)
