"""Jobs wait for what they need, and one that fails stops the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgetmi.core.errors import MethodError
from forgetmi.jobs.pool import Job, run_jobs
from tests.jobs.light_jobs import count_threads, fail, note


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_wait_for_what_they_need(workers: int, tmp_path: Path) -> None:
    path, shown = tmp_path / "log", []
    run_jobs(
        [Job("late", note, (path, "late"), after="early"), Job("early", note, (path, "early"))],
        workers=workers,
        on_progress=lambda *what: shown.append(what),
    )
    assert path.read_text().split() == ["early", "late"]
    assert ("late", 1, 1) in shown
    with pytest.raises(MethodError, match="went wrong"):
        run_jobs([Job("bad", fail, ()), Job("good", note, (path, "good"))], workers=workers)


def test_a_worker_computes_with_the_given_threads(tmp_path: Path) -> None:
    path = tmp_path / "threads"
    run_jobs(
        [Job("torch", count_threads, (path,)), Job("other", note, (tmp_path / "log", "other"))],
        workers=2,
        threads=2,
    )
    assert path.read_text() == "2"
