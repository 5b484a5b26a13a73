"""Jobs wait for what they need, and one that fails stops the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forgetmi.core.errors import MethodError
from forgetmi.jobs.pool import Job, run_jobs


def note(path: Path, word: str, progress: Any) -> None:
    with path.open("a") as file:
        file.write(f"{word}\n")
    progress(1, 1)


def fail(progress: Any) -> None:
    raise MethodError("it went wrong")


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
