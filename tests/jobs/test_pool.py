"""Worker processes end with the process that started them, and the end of one is the failure of its job alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from forgetmi.cli import main
from forgetmi.core.errors import ForgetMIError, SpecError
from forgetmi.core.model_names import ORIGINAL
from forgetmi.jobs.pool import Job, _WorkerSlot, run_jobs, warm_up
from forgetmi.run import pipeline
from forgetmi.run.spec import write_yaml
from forgetmi.run.stages import make_model
from tests.jobs.light_jobs import die, finish, leave, refuse, state
from tests.runs import SMALL

PROGRAM = """
import os, sys, time
from pathlib import Path

from forgetmi.jobs.pool import Job, run_jobs


def work(folder, name, tell):
    partial = Path(folder, name + ".partial")
    partial.write_text(str(os.getpid()))
    partial.rename(Path(folder, name))
    time.sleep(60)


if __name__ == "__main__":
    run_jobs([Job(name, work, (sys.argv[1], name)) for name in ("one", "two")], workers=2)
"""


@pytest.fixture(scope="module", autouse=True)
def _imported_once() -> None:
    """Every process is a copy of one that has imported everything."""
    warm_up("forgetmi.run.pipeline")


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def within(seconds: float, files: list[Path]) -> bool:
    end = time.monotonic() + seconds
    while not all(file.exists() for file in files) and time.monotonic() < end:
        time.sleep(0.05)
    return all(file.exists() for file in files)


def test_no_worker_outlives_a_killed_command(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = subprocess.Popen([sys.executable, str(tmp_path / "program.py"), str(tmp_path)])
    names = [tmp_path / "one", tmp_path / "two"]
    started = within(60, names)
    command.send_signal(signal.SIGKILL)
    command.wait()
    assert started
    workers = [int(name.read_text()) for name in names]
    end = time.monotonic() + 10
    while any(map(running, workers)) and time.monotonic() < end:
        time.sleep(0.1)
    left = [pid for pid in workers if running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def deadly(spec: Any, root: Path, name: str, progress: Any) -> None:
    if name == ORIGINAL:
        os.kill(os.getpid(), signal.SIGKILL)
    make_model(spec, root, name, progress)


def test_a_killed_process_is_the_failure_of_its_job_alone(tmp_path: Path) -> None:
    works = {
        "one": finish,
        "first": die,
        "second": die,
        "third": leave,
        "two": finish,
        "three": finish,
        "four": finish,
    }
    jobs = [Job(name, work, (tmp_path, name), killed=state) for name, work in works.items()]
    jobs.append(Job("after", finish, (tmp_path, "after"), after="first"))
    seen: list[tuple[str, int, int]] = []
    run_jobs(jobs, workers=2, on_progress=lambda *what: seen.append(what))
    assert sorted(seen) == sorted((job.name, 1, 1) for job in jobs)
    assert {path.stem for path in tmp_path.glob("*.killed")} == {"first", "second", "third"}
    assert all((tmp_path / name).exists() for name in ("one", "two", "three", "four", "after"))
    assert (tmp_path / "first.killed").read_text().startswith("its process was killed (SIGKILL).")
    assert "(exit code 3)" in (tmp_path / "third.killed").read_text()


def test_a_killed_process_is_one_clear_error_where_a_job_states_nothing(tmp_path: Path) -> None:
    jobs = [Job("dies", die, (tmp_path, "dies")), Job("other", finish, (tmp_path, "other"))]
    with pytest.raises(
        ForgetMIError, match=r"^dies: its process was killed \(SIGKILL\)\. .*same command again"
    ):
        run_jobs(jobs, workers=2)
    assert not list(tmp_path.glob("*.killed"))


def test_the_last_job_does_not_take_this_process_with_it(tmp_path: Path) -> None:
    run_jobs([Job("dies", die, (tmp_path, "dies"), killed=state)], workers=2)
    assert (tmp_path / "dies.killed").exists()


def test_a_process_killed_between_two_jobs_fails_neither(tmp_path: Path) -> None:
    slot = _WorkerSlot(1)
    try:
        slot.submit(Job("one", finish, (tmp_path, "one"))).result()
        pid = int((tmp_path / "one").read_text())
        os.kill(pid, signal.SIGKILL)
        assert not within(0.5, [tmp_path / "two"])  # the pool needs a moment to see it
        slot.submit(Job("two", finish, (tmp_path, "two"))).result()
    finally:
        slot.close()
    assert int((tmp_path / "two").read_text()) != pid


def test_what_is_no_death_is_not_told_as_one(tmp_path: Path) -> None:
    jobs = [Job("refuses", refuse, ()), Job("other", finish, (tmp_path, "other"))]
    with pytest.raises(RuntimeError, match="Unsendable"):
        run_jobs(jobs, workers=2)
    with pytest.raises(SpecError, match="threads is 0"):
        run_jobs(jobs, workers=2, threads=0)


def test_a_run_whose_process_was_killed_ends_with_one_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pipeline, "make_model", deadly)
    (tmp_path / "spec.yaml").write_text(write_yaml(SMALL))
    words = [
        "run",
        "--spec",
        str(tmp_path / "spec.yaml"),
        "--out",
        str(tmp_path / "run"),
        "--workers",
        "2",
    ]
    assert main(words) == 2
    said = capfd.readouterr().err
    assert said.count("error:") == 1
    assert "error: original: its process was killed (SIGKILL)." in said
    assert "Give the same command again" in said
    assert "Traceback" not in said
