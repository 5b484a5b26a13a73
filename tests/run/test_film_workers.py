"""Films read by real processes: the same store from 1, 2 and 4 of them, and one clear error where one dies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forgetmi.data.film_portions as portions_module
from forgetmi.core.errors import ForgetMIError
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.jobs import runner
from forgetmi.jobs.runner import Resources
from forgetmi.run.film_workers import film_workers
from tests.jobs.light_jobs import end_process
from tests.runs import SMALL as SMALL_RUN

SMALL = ImagePreprocessing(size=16)


@pytest.fixture
def cohort(tmp_path: Path):
    """Twelve pictures, of which two are the same, as a cohort of twelve patients."""
    from tests.data.conftest import strings

    rng = np.random.default_rng(3)
    paths = []
    for number in range(12):
        path = tmp_path / f"picture{number}.png"
        Image.fromarray(rng.integers(0, 256, (20, 16), np.uint8)).save(path)
        paths.append(str(path))
    Path(paths[7]).write_bytes(Path(paths[2]).read_bytes())
    whole = SMALL_RUN.cohort.load()
    rows = np.arange(12)
    small = {name: getattr(whole, name)[rows] for name in ("patient", "study", "image_id", "group")}
    return replace(
        whole,
        **small,
        report=whole.report[rows],
        label=whole.label[rows],
        split=whole.split[rows],
        image=strings(paths),
        subgroups={},
    )


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions_module, "_WORTH", 0)


def test_the_store_is_the_same_from_1_2_and_4_processes(cohort, tmp_path) -> None:
    stores = []
    for workers in (1, 2, 4):
        spread = film_workers(Resources(workers=workers))
        assert (spread is None) == (workers == 1)
        stores.append(
            build_image_store(cohort, SMALL, cache=tmp_path / f"{workers}", spread=spread)
        )
    rows = np.arange(12)
    for store in stores[1:]:
        assert store.digest == stores[0].digest
        np.testing.assert_array_equal(store.images(rows), stores[0].images(rows))


def test_a_process_that_dies_is_one_error_without_a_path(cohort, tmp_path) -> None:
    spread = film_workers(Resources(workers=2))
    assert spread is not None

    def deadly(work, portions, *, answered, progress) -> None:
        spread(end_process, portions, answered=answered, progress=progress)

    with pytest.raises(ForgetMIError) as caught:
        build_image_store(cohort, SMALL, cache=tmp_path / "cache", spread=deadly)
    (fault,) = caught.value.faults
    assert fault.what == "its process was killed"
    assert fault.where.startswith("films ")
    assert "go on" in fault.do
    assert str(tmp_path) not in str(fault)

    # The same call goes on
    store = build_image_store(cohort, SMALL, cache=tmp_path / "cache")
    assert len(store) == 12


def test_a_cluster_gets_a_job_a_portion(cohort, tmp_path, monkeypatch) -> None:
    alone = build_image_store(cohort, SMALL, cache=tmp_path / "alone")
    asked = []

    def on_ray(jobs, **resources) -> None:
        asked.append((len(jobs), resources["gpus"], resources["threads"]))
        for job in reversed(jobs):
            job.returned(job.sent().work(*job.arguments, lambda done, total: None))
            resources["on_progress"](job.name, 1, 1)

    monkeypatch.setattr(runner, "run_on_ray", on_ray)
    resources = Resources("ray", address="auto", gpus_per_job=1.0, threads=3)
    steps: list[tuple[int, int]] = []
    store = build_image_store(
        cohort,
        SMALL,
        cache=tmp_path / "cache",
        spread=film_workers(resources),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert asked == [(3, 0.0, 1)]
    assert steps[-1] == (12, 12)
    assert store.digest == alone.digest
