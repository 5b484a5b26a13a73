"""Jobs in a SLURM queue, beside a stand-in for SLURM that kills and requeues."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from forgetmi.core.errors import ForgetMIError, MethodError, SpecError
from forgetmi.jobs import slurm
from forgetmi.jobs.pool import Job
from forgetmi.jobs.runner import Resources, run_all
from forgetmi.jobs.slurm import run_on_slurm
from forgetmi.jobs.slurm_files import Outcome, QueueFolder, token_of
from tests.jobs import light_jobs

ROOT = Path(__file__).parents[2]
SLURM = Resources("slurm")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in, whose commands are the only ones of SLURM."""
    here, commands = tmp_path / "slurm", tmp_path / "commands"
    here.mkdir()
    commands.mkdir()
    stand_in = Path(__file__).with_name("slurm_stand_in.py")
    for name in ("sbatch", "squeue", "scancel"):
        path = commands / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {stand_in} {name} "$@"\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_SLURM", str(here))
    monkeypatch.setenv("FORGETMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    monkeypatch.setattr(slurm, "_POLL_SECONDS", 0.05)
    return here


def calls(queue: Path) -> list[str]:
    return (queue / "calls").read_text().splitlines()


def left(tmp_path: Path) -> list[Path]:
    """Files of jobs that are still there; what jobs print stays."""
    return [path for path in (tmp_path / "cache" / "slurm-jobs").iterdir() if path.suffix != ".txt"]


def test_a_grid_is_an_array_a_level_and_its_answers_come_back(queue, tmp_path) -> None:
    notes, done, answers = tmp_path / "notes", [], []
    jobs = [
        Job("unlearned", light_jobs.note, (notes, "unlearned"), after="original"),
        Job("original", light_jobs.note, (notes, "original"), answer=answers.append),
        Job("count", light_jobs.twice, (21,), answer=answers.append),
    ]
    run_all(
        jobs,
        Resources("slurm", workers=3, threads=2, gpus_per_job=1.0),
        on_progress=lambda name, *rest: done.append(name),
    )
    assert sorted(done) == ["count", "original", "unlearned"]
    assert sorted(answers, key=str) == [42, None]
    assert notes.read_text().split() == ["original", "unlearned"]

    # The awaited, the others, and who waits with a dependency on the awaited alone
    first, others, second = calls(queue)
    for call in (first, others, second):
        assert "--array=0-0%3" in call
        assert "--cpus-per-task=2 --gres=gpu:1" in call
        assert "--requeue" in call
    assert "--dependency" not in first + others
    assert "--dependency=afterany:101" in second
    assert not left(tmp_path)


def test_a_job_that_slurm_requeues_is_handed_over_once(queue, tmp_path) -> None:
    (queue / "requeue").touch()
    run_all([Job("one", light_jobs.die_first, (tmp_path, "one"))], SLURM)
    assert (queue / "requeued").read_text().split() == ["101_0"]
    assert len(calls(queue)) == 1
    assert (tmp_path / "one.done").exists()


def test_a_job_that_is_killed_and_gone_is_tried_again_before_who_waits_for_it(
    queue, tmp_path
) -> None:
    notes = tmp_path / "notes"
    jobs = [
        Job("original", light_jobs.die_first, (tmp_path, "original")),
        Job("unlearned", light_jobs.note, (notes, "unlearned"), after="original"),
    ]
    run_all(jobs, SLURM)
    assert notes.read_text().split() == ["unlearned"]
    assert len(calls(queue)) >= 3


def test_a_job_that_dies_each_time_is_one_error(queue, tmp_path) -> None:
    with pytest.raises(ForgetMIError) as caught:
        run_all([Job("one", light_jobs.die, (tmp_path, "one"))], SLURM)
    (fault,) = caught.value.faults
    assert (fault.what, fault.where, fault.why) == ("its process was killed", "one", "2 times")
    assert "SBATCH_MEM_PER_CPU" in fault.do
    assert len(calls(queue)) == 2
    assert not left(tmp_path)


def test_a_job_that_is_given_up_lets_the_others_go_on(queue, tmp_path) -> None:
    notes = tmp_path / "notes"
    jobs = [
        Job("one", light_jobs.die, (tmp_path, "one"), killed=light_jobs.note_death),
        Job("two", light_jobs.note, (notes, "two"), after="one"),
    ]
    run_all(jobs, SLURM)
    assert (tmp_path / "one.dead").exists()
    assert notes.read_text().split() == ["two"]


def test_an_error_is_raised_and_the_rest_taken_out(queue, tmp_path) -> None:
    jobs = [
        Job("wrong", light_jobs.fail, ()),
        Job("late", light_jobs.note, (tmp_path / "notes", "late"), after="never"),
        Job("never", light_jobs.sleep, (60,)),
    ]
    began = time.monotonic()
    with pytest.raises(MethodError, match="it went wrong"):
        run_all(jobs, SLURM)
    assert time.monotonic() - began < 50
    assert "_" in (queue / "cancelled").read_text()
    assert not left(tmp_path)


def test_the_same_command_finds_its_jobs_in_the_queue(queue, tmp_path) -> None:
    # The command is killed when it has handed its jobs over; nothing of the queue has run yet
    (queue / "stand still").touch()
    jobs = [
        Job("one", light_jobs.note, (tmp_path / "notes", "one")),
        Job("two", light_jobs.note, (tmp_path / "notes", "two")),
    ]
    killed = slurm._Watch(jobs, workers=0, threads=1, gpus=0, on_progress=None)
    killed.submit_missing()
    script = next((tmp_path / "cache" / "slurm-jobs").glob("*.sh"))

    # Given again, it hands nothing over and waits for those
    stand_in = Path(__file__).with_name("slurm_stand_in.py")
    queue_command = [sys.executable, stand_in, "work", "101", script, "1"]
    with subprocess.Popen(queue_command, stdout=subprocess.DEVNULL) as working:
        run_all(jobs, SLURM)
        working.kill()
    assert len(calls(queue)) == 1
    assert sorted((tmp_path / "notes").read_text().split()) == ["one", "two"]


def test_an_old_answer_is_not_taken_for_a_new_one(queue, tmp_path) -> None:
    job = Job("count", light_jobs.twice, (4,))
    QueueFolder(tmp_path / "cache" / "slurm-jobs").write_outcome(token_of(job), Outcome(99))
    answers = []
    run_all([Job("count", light_jobs.twice, (4,), answer=answers.append)], SLURM)
    assert answers == [8]


def test_without_slurm_it_is_said_before_anything_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FORGETMI_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SpecError, match="SLURM is not installed here") as caught:
        run_all([Job("one", light_jobs.fail, ())], SLURM)
    assert "sbatch, squeue, scancel" in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_what_slurm_refuses_is_said_in_its_words(queue) -> None:
    (queue / "refuse").touch()
    with pytest.raises(ForgetMIError, match="Invalid account") as caught:
        run_all([Job("one", light_jobs.fail, ())], SLURM)
    assert "SBATCH_ACCOUNT" in str(caught.value)


def test_parts_of_gpus_are_refused(queue) -> None:
    with pytest.raises(SpecError, match="whole GPUs"):
        run_on_slurm([Job("one", light_jobs.fail, ())], gpus=0.5)


def test_a_silent_slurm_is_waited_for_and_then_said(queue, monkeypatch) -> None:
    monkeypatch.setattr(slurm, "_UNANSWERED", 2)
    monkeypatch.setattr(slurm, "queued", lambda: None)
    with pytest.raises(ForgetMIError, match="SLURM does not answer"):
        run_all([Job("one", light_jobs.fail, ())], SLURM)
    assert not (queue / "calls").exists()


def test_a_slurm_that_falls_silent_keeps_the_jobs_for_the_same_command(
    queue, tmp_path, monkeypatch
) -> None:
    (queue / "stand still").touch()
    monkeypatch.setattr(slurm, "_UNANSWERED", 2)
    jobs = [Job("one", light_jobs.note, (tmp_path / "notes", "one"))]

    # It answers once, takes the job, and says nothing any more
    answers = iter([set()])
    with monkeypatch.context() as silent:
        silent.setattr(slurm, "queued", lambda: next(answers, None))
        with pytest.raises(ForgetMIError, match="its jobs go on"):
            run_all(jobs, SLURM)
    assert not (queue / "cancelled").exists()

    again = slurm._Watch(jobs, workers=0, threads=1, gpus=0, on_progress=None)
    again.find_queued()
    again.submit_missing()
    assert len(calls(queue)) == 1
    assert {path.suffix for path in left(tmp_path)} == {".job", ".place", ".array", ".sh"}


@pytest.mark.parametrize("answers", [True, False])
def test_an_interrupt_drops_the_files_of_jobs_that_are_out_of_the_queue(
    queue, tmp_path, monkeypatch, answers
) -> None:
    (queue / "stand still").touch()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    # Its own pause alone: waiting for a command sleeps, too
    monkeypatch.setattr(slurm, "time", SimpleNamespace(sleep=interrupt))
    if not answers:
        monkeypatch.setattr(slurm, "cancel", lambda places: False)
    with pytest.raises(KeyboardInterrupt):
        run_all([Job("one", light_jobs.fail, ())], SLURM)
    assert bool(left(tmp_path)) != answers


def test_jobs_of_long_arrays_that_differ_in_the_middle_have_other_files() -> None:
    one, other = np.zeros(5000), np.zeros(5000)
    other[2500] = 1e-12
    assert token_of(Job("a", print, (one,))) != token_of(Job("a", print, (other,)))
    assert token_of(Job("a", print, (one,))) == token_of(Job("a", print, (one.copy(),)))
