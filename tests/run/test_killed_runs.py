"""What a kill leaves in an output: its own files are known and go, others' stay, states of finished stages go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.commands.checkpoint_files import OPTIONS, checkpoint_lock, named_after, state_file
from forgetmi.core.errors import SpecError
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finish import finish
from forgetmi.run.shadow_plan import Plan
from forgetmi.run.shadows import _clear
from tests.evidence.copied_runs import states, unrecorded
from tests.runs import TINY


def half(path: Path, content: str = "half") -> Path:
    """The unfinished form of a file, as a killed process leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = path.with_name(f".{path.name}.a1b2c3d4.forgetmi.partial")
    left.write_text(content)
    return left


def test_a_kill_before_the_first_rename_holds_the_directory_for_its_run(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    left = half(directory.spec)
    directory.check_claim("seed: 1\n")
    with directory.lock():
        assert not left.exists()
        directory.claim("seed: 1\n")
    assert directory.spec.read_text() == "seed: 1\n"


def test_a_directory_with_a_strangers_file_is_still_refused(tmp_path: Path) -> None:
    half(tmp_path / "spec.yaml")
    (tmp_path / ".notes.partial").write_text("a stranger's")
    with pytest.raises(SpecError, match=r"it holds \.notes\.partial"):
        RunDirectory(tmp_path).check_claim("seed: 1\n")
    with RunDirectory(tmp_path).lock():
        assert (tmp_path / ".notes.partial").exists()


def test_a_finished_run_has_no_state_and_nothing_half_written(
    signed_run: Path, tmp_path: Path
) -> None:
    run = unrecorded(signed_run, tmp_path)
    before = states(run / "signals")
    for name in ("original", "relearn-unlearned", "relearn-retrain-0"):
        RunDirectory(run).state(name).parent.mkdir(exist_ok=True)
        RunDirectory(run).state(name).write_bytes(b"weights that were taught again")
    half(run / "state" / "relearn-unlearned.pt")
    half(run / "relearn" / "unlearned" / "001.npz")
    (run / "models" / ".unlearned.forgetmi.partial").mkdir()
    (run / "models" / ".unlearned.forgetmi.partial" / "model.safetensors").write_text("half")

    finish(TINY, run, command=["forgetmi", "run"])
    assert not (run / "state").exists()
    assert not [path.name for path in run.rglob("*") if "forgetmi" in path.name]
    assert states(run / "signals") == before


def test_a_finished_pool_keeps_neither_weights_nor_states(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    for path in (directory.state("shadow-001"), directory.state("shadow-000-unlearned-0")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("weights")
    directory.model("shadow-001").mkdir(parents=True)
    (directory.model("shadow-001") / "model.safetensors").write_text("weights")
    plan = Plan(2, 1, seed=0, cohort="", forgotten=1, rows=4, people="", asked="")
    _clear(plan, directory)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "train", "unlearn", "predict"])
def test_an_output_that_cannot_be_used_is_refused_before_the_cohort_is_read(
    verb: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(type(TINY.cohort), "load", lambda _: pytest.fail("the cohort was read"))
    (tmp_path / "file").write_text("a stranger's")
    more = [] if verb in ("run", "train") else ["--checkpoint", str(tmp_path / "absent")]
    for out in (tmp_path / "file" / "out", tmp_path if verb == "predict" else tmp_path / "file"):
        assert main([verb, "--out", str(out), *more]) == 2
        assert f"error: {out.name}: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("verb", ["train", "unlearn"])
def test_a_second_process_with_the_same_checkpoint_is_refused(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], signed_run: Path
) -> None:
    more = ["--checkpoint", str(signed_run / "models" / "original")] if verb == "unlearn" else []
    spec = ["--spec", str(signed_run / "spec.yaml")]
    with checkpoint_lock(tmp_path / "model"):
        assert main([verb, *spec, "--out", str(tmp_path / "model"), *more]) == 2
    assert "model: another process is working in this output" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(TINY.cohort), "load", lambda _: pytest.fail("the cohort was read"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("a stranger's")
    named_after(tmp_path / "model", OPTIONS).write_text("seed: 1\n")
    assert main(["train", "--out", str(tmp_path / "model")]) == 2
    assert "it holds other files than a checkpoint" in capsys.readouterr().err


def test_what_killed_processes_left_beside_a_checkpoint_goes(tmp_path: Path) -> None:
    model = tmp_path / "model"
    for path in (model, state_file(model), named_after(model, OPTIONS), named_after(model, "log")):
        half(path)
    half(named_after(model, "log") / "index.pt")
    other = half(tmp_path / "model.new.options.yaml")
    with checkpoint_lock(model):
        left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {other, tmp_path / ".model.lock"}
    shutil.rmtree(tmp_path / "model.log")
