"""Trackers get numbers under our own names, and nothing of a patient."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from forgetmi.core.errors import SpecError
from forgetmi.core.files import write_json, write_text
from forgetmi.core.scores import Evaluation, Score
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_data import load_data
from forgetmi.run.track import Tracker, track_run
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
