"""Trackers get numbers under our own names, and nothing of a patient."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgetmi.cli import main
from forgetmi.core.errors import SpecError
from forgetmi.core.files import write_json, write_text
from forgetmi.core.logs import log_epoch, working_on
from forgetmi.core.scores import Evaluation, Score
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.run.directory import RunDirectory
from forgetmi.run.live_track import live_tracker
from forgetmi.run.run_data import load_data
from forgetmi.run.track import Kind, Tracker, check_tracker
from tests.runs import SMALL


def finished(root: Path) -> RunDirectory:
    directory = RunDirectory(root)
    write_json(
        directory.trace("original"),
        {"epochs": [{"loss": 1.5, "auc": None}, {"loss": 0.5, "auc": 0.7}]},
    )
    score = Score("gap", 0.125, None, 20, 80, "lower", head="image", note="words that stay here")
    write_text(directory.metrics, Evaluation({"unlearned": (score,)}).to_json())
    return directory


def track_run(kind: Kind, directory: RunDirectory, names: list[str], *, seed: int) -> None:
    """Hand on a run that was finished before."""
    with live_tracker(kind, directory.root / "tracking", {"seed": seed}) as tracker:
        assert tracker is not None
        tracker.add_run(directory, names)


def test_tensorboard_has_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track_run("tensorboard", finished(tmp_path), ["original"], seed=7)
    (events,) = (tmp_path / "tracking" / "run").glob("events*")
    found = EventAccumulator(str(events))
    found.Reload()
    assert [(one.step, one.value) for one in found.Scalars("original/loss")] == [(0, 1.5), (1, 0.5)]
    assert found.Scalars("unlearned/gap/image")[0].value == 0.125


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of its database library
def test_mlflow_has_the_numbers_in_the_runs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):  # each run in a folder of its own
        track_run("mlflow", finished(tmp_path / name), ["original"], seed=7)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}
    for name in ("one", "two"):
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path / name / 'tracking' / 'mlflow.db'}")
        (run,) = client.search_runs([client.get_experiment_by_name("forgetmi").experiment_id])
        losses = client.get_metric_history(run.info.run_id, "original/loss")
        assert [(one.step, one.value) for one in losses] == [(0, 1.5), (1, 0.5)]
        assert run.data.metrics["unlearned/gap/image"] == 0.125
        assert run.data.params == {"seed": "7"}
        assert run.data.tags["mlflow.user"] == run.data.tags["mlflow.source.name"] == "forgetmi"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "kind",
    ["tensorboard", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("wandb", "mlflow"))],
)
def test_no_identifier_text_or_path_is_in_a_trackers_files(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec(kind) is None:
        pytest.skip(f"{kind} is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_SWEEP_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    cohort, _ = load_data(replace(SMALL))
    track_run(kind, finished(tmp_path / "run"), ["original"], seed=7)  # type: ignore[arg-type]
    content = b"".join(
        path.read_bytes() for path in (tmp_path / "run" / "tracking").rglob("*") if path.is_file()
    )
    assert b"loss" in content
    for values in (cohort.patient, cohort.study, cohort.image_id, cohort.report, cohort.image):
        assert not any(str(value).encode() in content for value in set(values) if value)


def test_a_tracker_that_is_not_installed_is_an_error_with_advice(tmp_path: Path) -> None:
    if find_spec("mlflow") is not None:
        pytest.skip("mlflow is installed")
    with pytest.raises(SpecError, match=r"forgetmi\[track\]"):
        Tracker("mlflow", tmp_path, "run", {})


class Kept:
    """A tracker that keeps what it gets; it fails from a step on."""

    def __init__(self, got: list[tuple[dict[str, float], int]], fails: int = 10**9) -> None:
        self.got, self.fails = got, fails

    def log(self, values: dict[str, float], *, step: int, group: str = "") -> None:
        if step >= self.fails:
            raise ConnectionError(str(step))
        self.got.append((values, step))

    def __exit__(self, *error: object) -> None:
        self.got.append(({"ended": 1.0}, 0))


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, float], int]]:
    """What a tracker gets, which begins with the first number."""
    kept: list[tuple[dict[str, float], int]] = []
    monkeypatch.setattr("forgetmi.run.live_track.check_tracker", lambda kind: None)
    monkeypatch.setattr("forgetmi.run.live_track.Tracker", lambda *_: Kept(kept, fails=100))
    return kept


def test_steps_and_epochs_come_as_they_happen(
    small: Any, tmp_path: Path, got: list[tuple[dict[str, float], int]]
) -> None:
    with live_tracker("tensorboard", tmp_path / "tracking", {}), working_on("train"):
        assert got == []
        _, trace = workflow.train(
            prepared=small.prepared, partition=small.partition, recipe=Recipe(epochs=1), seed=3
        )
        during = list(got)
    steps = [(values, step) for values, step in during if "train/step/loss" in values]
    epochs = [(values, step) for values, step in during if "train/loss" in values]
    assert [step for _, step in steps] == list(range(1, int(trace.total("steps")) + 1))
    assert [(values["train/loss"], step) for values, step in epochs] == [
        (trace.epochs[0]["loss"], 0)
    ]
    assert {"train/step/lr"} <= set(steps[0][0])
    assert got[-1] == ({"ended": 1.0}, 0)


def test_what_was_not_seen_live_is_added_at_the_end(
    got: list[tuple[dict[str, float], int]], tmp_path: Path
) -> None:
    directory = finished(tmp_path)
    with live_tracker("mlflow", tmp_path / "tracking", {}) as tracker, working_on("original"):
        assert tracker is not None
        log_epoch(logging.getLogger("forgetmi.tests"), "training", 2, 2, {"loss": 0.5})
        tracker.add_run(directory, ["original"])
    assert got == [
        ({"original/loss": 0.5}, 1),
        ({"original/loss": 1.5}, 0),
        ({"unlearned/gap/image": 0.125}, 0),
        ({"ended": 1.0}, 0),
    ]


def test_a_tracker_that_fails_stops_no_work(
    got: list[tuple[dict[str, float], int]], tmp_path: Path
) -> None:
    logger = logging.getLogger("forgetmi.tests")
    with live_tracker("mlflow", tmp_path, {}), working_on("5 %, draw 0"):
        for epoch in (1, 101, 102):
            log_epoch(logger, "training", epoch, 200, {"loss": 0.5})
    assert got == [({"5  draw 0/loss": 0.5}, 0), ({"ended": 1.0}, 0)]


def test_a_server_that_does_not_answer_is_found_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("forgetmi.run.track._check_installed", lambda kind: None)
    monkeypatch.setattr(type(SMALL.cohort), "load", lambda _: pytest.fail("the cohort was read"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    with pytest.raises(SpecError, match="server of mlflow cannot be reached"):
        check_tracker("mlflow")
    for verb in ("run", "train", "benchmark"):
        assert main([verb, "--out", str(tmp_path / "out"), "--track", "mlflow"]) == 2
        said = capsys.readouterr().err
        assert "--track: the server of mlflow cannot be reached" in said
        assert "secret" not in said
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x.db")
    check_tracker("mlflow")
    check_tracker("")


def test_weights_and_biases_has_an_axis_for_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own steps only ever grow: those of the second model would be thrown away."""
    calls: list[object] = []
    tracker = Tracker.__new__(Tracker)
    tracker._kind, tracker._groups = "wandb", set()
    tracker._tracker = SimpleNamespace(
        log=lambda values, **more: calls.append((values, more)),
        tracker=SimpleNamespace(define_metric=lambda name, step_metric: calls.append(name)),
    )
    for model in ("original", "unlearned"):
        tracker.log({f"{model}/loss": 0.5}, step=0, group=model)
    assert calls == [
        "original/*",
        ({"original/loss": 0.5, "original/at": 0}, {}),
        "unlearned/*",
        ({"unlearned/loss": 0.5, "unlearned/at": 0}, {}),
    ]
