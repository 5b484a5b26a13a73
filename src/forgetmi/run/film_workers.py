"""Films on all cores, or on the machines of a Ray cluster: the same jobs, by the same runners, as models."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from forgetmi.core.cohort import Cohort
from forgetmi.core.files import default_cache
from forgetmi.core.launch import launched
from forgetmi.data.film_portions import Answer, Portion, Spread
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.jobs.pool import Job
from forgetmi.jobs.runner import Resources, run_all

_NAME = "films"


def film_workers(resources: Resources) -> Spread | None:
    """How films are read on some resources.

    Args:
        resources: Where, and in how many processes. A process reads films with one thread.

    Returns:
        What `forgetmi.data.image_store.build_image_store` takes; None = in this process, as with one worker or core, or
        where a launcher has started several.
    """
    # Names of films do not go into a queue: there they are decoded by this machine
    local = resources.runner != "ray"
    if launched() > 1 or (local and (resources.workers or os.cpu_count() or 1) == 1):
        return None

    # A film needs no GPU
    runner = "local" if local else "ray"
    resources = replace(resources, runner=runner, threads=1, gpus_per_job=0.0)

    def spread(
        work: Callable[..., Answer],
        portions: Sequence[Portion],
        *,
        answered: Callable[[Answer], Any],
        progress: Callable[[int, int], Any],
    ) -> None:
        names = [f"{_NAME} {number + 1} of {len(portions)}" for number in range(len(portions))]
        number_of = {name: number for number, name in enumerate(names)}
        jobs = []
        for name, portion in zip(names, portions, strict=True):
            jobs.append(Job(name, work, (portion,), answer=answered))

        def on_progress(name: str, done: int, total: int) -> None:
            # A cluster tells of a job when it is done, and then as one of one
            number = number_of[name]
            progress(number, done if local else len(portions[number].places))

        run_all(jobs, resources, on_progress=on_progress)

    return spread


def decode_films(cohort: Cohort, preprocessing: ImagePreprocessing, resources: Resources) -> None:
    """Decode the films of a cohort into the cache; for jobs that each open them and would otherwise each decode them.

    Args:
        cohort: The cohort.
        preprocessing: How films become model inputs.
        resources: Where.

    Raises:
        CohortError: Images cannot be read.
        ForgetMIError: One of several processes was killed.
    """
    build_image_store(cohort, preprocessing, cache=default_cache(), spread=film_workers(resources))
