"""One trial as ``wandb agent`` asks for it: its words, its metric's name, and what is refused before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from forgetmi.cli import main
from forgetmi.commands import sweep as command
from forgetmi.commands.options import parse
from forgetmi.core.cohort import Cohort
from forgetmi.core.partition import Partition
from forgetmi.methods.cf_k import CFk
from forgetmi.model.initialise import build
from forgetmi.run import workflow
from forgetmi.run.absolute_paths import absolute
from forgetmi.run.prepared import Prepared
from forgetmi.run.spec import RunSpec, applied, write_yaml
from forgetmi.search.objectives import scores_of
from forgetmi.search.sweep_file import read_sweep
from tests.conftest import Small
from tests.runs import SMALL

SPEC = replace(SMALL, method=CFk(epochs=1), retrains=0, split_seed=9)
PARAMETERS: dict[str, Any] = {
    "training.bf16": True,
    "training.decay_all": False,
    "model.widths": [4, 8],
    "split_seed": None,
    "method.lr": 1e-05,
    "method.epochs": 7,
    "model.pooling": "global",
    "given.original": "runs/1.0",
    "partition.date": "2026-01-01",
    "given.retrained": ["a", "b"],
    "audit": None,
}


def words_of(parameters: Mapping[str, Any]) -> list[str]:
    """``${args}``, as Weights & Biases's agent writes them."""
    return [f"--{name}={value}" for name, value in parameters.items()]


def sweep_command(folder: Path, *more: str) -> list[str]:
    path = folder / "spec.yaml"
    path.write_text(write_yaml(SPEC))
    return ["sweep", "--spec", str(path), "--out", str(folder / "out"), *more]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[RunSpec]:
    """The trials that would be made; none is."""
    found: list[RunSpec] = []

    def score(spec: RunSpec, root: Path, **options: object) -> tuple[float, str]:
        found.append(spec)
        return 0.25, ""

    monkeypatch.setattr("forgetmi.search.trial.score", score)
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    return found


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, float]]]:
    """What an agent's tracker is told."""
    found: list[tuple[str, dict[str, float]]] = []

    class Stub:
        def __init__(self, kind: str, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
            self.kind = kind

        def log(self, values: Mapping[str, float], *, step: int) -> None:
            found.append((self.kind, dict(values)))

        def __enter__(self) -> Stub:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr("forgetmi.run.track.Tracker", Stub)
    monkeypatch.setattr("forgetmi.run.track.check_tracker", lambda kind: None)
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_MODE", "offline")
    return found


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name != "audit"])
def test_a_parameter_of_the_agent_is_that_of_the_file(
    name: str, tmp_path: Path, tried: list[RunSpec]
) -> None:
    one = {name: PARAMETERS[name]}
    if name == "given.retrained":
        one["given.original"] = "original"
    assert main([*sweep_command(tmp_path), *words_of(one)]) == 0
    assert tried == [absolute(applied(SPEC, one, where="file"))]
    assert tried != [SPEC]


def test_nested_parameters_of_the_agent_and_options_of_a_person(
    tmp_path: Path, tried: list[RunSpec]
) -> None:
    nested = words_of({"method": {"lr": 0.5, "epochs": 4}, "model": {"widths": [4]}})
    assert (
        main(
            [
                *sweep_command(tmp_path, "--method", "cf_k", "--seed", "5"),
                *nested,
                "--training.bf16",
            ]
        )
        == 0
    )
    assert tried == [
        applied(
            replace(SPEC, method=CFk()),
            {
                "method.lr": 0.5,
                "method.epochs": 4,
                "model.widths": [4],
                "seed": 5,
                "training.bf16": True,
            },
            where="x",
        )
    ]
    assert (
        main(
            [
                *sweep_command(tmp_path),
                "--method=cf_k",
                "--batch-size=4",
                "--training.bf16=true",
                "--given.original=a",
                "--given.retrained=b",
            ]
        )
        == 0
    )
    assert (tried[1].batch_size, tried[1].training.bf16, tried[1].given.retrained) == (
        4,
        True,
        (Path("b").absolute(),),
    )


@pytest.mark.slow
def test_the_agents_own_words_are_those_of_these_tests() -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    given = {"args": {name: {"value": value} for name, value in PARAMETERS.items()}}
    assert utils.create_sweep_command_args(given)["args"] == words_of(PARAMETERS)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--training.bf=True", "Did you mean 'bf16'?"),
        ("--method.epochs=2.5", "got 2.5, expected int"),
        ("--training.bf16=perhaps", "expected bool"),
        ("--seed.of.what=1", "unknown option"),
        ("--model.widths=[8, x]", "expected int"),
    ],
)
def test_a_parameter_that_is_wrong_is_an_error(
    word: str,
    said: str,
    tmp_path: Path,
    tried: list[RunSpec],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(sweep_command(tmp_path, word)) == 2
    assert said in capsys.readouterr().err
    assert not tried


def test_an_option_without_a_default_may_be_a_parameter() -> None:
    spec, own = parse(
        command.SweepOptions,
        ["--out=x", "--cohort=table", "--cohort.path=a.csv", "--cohort.classes=['no', 'yes']"],
        prog="forgetmi sweep",
        description="",
        only=command.USED,
        agent=True,
    )
    assert (own.out, spec.cohort.path, spec.cohort.classes) == (
        Path("x"),
        Path("a.csv").absolute(),
        ("no", "yes"),
    )


@pytest.mark.parametrize("name", ["validation", "gap:image", "jsf:image:forget"])
def test_an_agents_trial_logs_the_metric_under_the_name_given(
    name: str,
    tmp_path: Path,
    tried: list[RunSpec],
    logged: list[tuple[str, dict[str, float]]],
) -> None:
    more = [] if name == "validation" else ["--objective", name]
    former = {"own": 0.25} if name == "validation" else {}
    assert main([*sweep_command(tmp_path, *more), *words_of({"method.lr": 0.1})]) == 0
    assert logged == [("wandb", {name: 0.25, "refused": 0.0, **former})]


def test_the_files_of_the_documentation_name_the_metric_that_is_logged(
    tmp_path: Path,
    tried: list[RunSpec],
    logged: list[tuple[str, dict[str, float]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    blocks = re.findall(
        r"```yaml\n(program:.*?)```", page.partition("## Run a sweep")[2], re.DOTALL
    )
    assert len(blocks) == 2
    for block in blocks:
        (tmp_path / "sweep.yaml").write_text(block)
        found = read_sweep(tmp_path / "sweep.yaml")
        drawn = {
            name: choice[0] if isinstance(choice, tuple) else choice.at(0.5)
            for name, choice in found.parameters.items()
        }
        program, *words = map(str, yaml.safe_load(block)["command"])
        assert (program, words.pop()) == ("forgetmi", "${args}")
        assert main([*words, *words_of(drawn)]) == 0
        _, values = logged.pop()
        assert values[found.metric] == 0.25
        assert tried.pop().method.lr == drawn["method.lr"]


def no_models(*given: object, **more: object) -> None:
    pytest.fail("a model was made")


@pytest.mark.parametrize("name", ["val_loss", "gap:imag", "severity_mse:image:everywhere"])
def test_a_metric_that_does_not_exist_is_refused_before_any_work(
    name: str,
    tmp_path: Path,
    logged: list[tuple[str, dict[str, float]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("forgetmi.search.trial.make_model", no_models)
    monkeypatch.setattr("forgetmi.search.sweep.run_all", no_models)
    words = sweep_command(tmp_path)
    assert main([*words, "--objective", name]) == 2
    said = capsys.readouterr().err
    assert f"there is no score '{name}'" in said
    assert ("Did you mean 'gap:image'?" in said) == (name == "gap:imag")
    assert not logged
    pytest.importorskip("optuna")
    file = tmp_path / "sweep.yaml"
    file.write_text(
        f"method: random\nmetric: {{name: '{name}'}}\nparameters: {{method.lr: {{value: 0.1}}}}\n"
    )
    assert main(["sweep", str(file), *words[1:]]) == 2
    assert f"there is no score '{name}'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_score_of_grades_is_refused_where_classes_are_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("forgetmi.search.trial.make_model", no_models)
    monkeypatch.setattr("forgetmi.search.objectives._task", lambda cohort: "classes")
    assert main(sweep_command(tmp_path, "--objective", "severity_mse:image:test")) == 2
    assert "also ordinal_auc, pairwise_auc, severity_mse" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["grades", "classes"])
def test_the_scores_known_beforehand_are_those_of_an_evaluation(small: Small, task: str) -> None:
    cohort, sets, prepared = small.cohort, small.partition, small.prepared
    assert isinstance(cohort, Cohort)
    assert isinstance(sets, Partition)
    assert isinstance(prepared, Prepared)
    said = workflow.predict(prepared=prepared, model=build(prepared.spec, seed=1))
    found = workflow.evaluate(
        original=said,
        unlearned=said,
        retrained=[said, said],
        partition=sets,
        task=task,
        seed=1,
    )
    assert scores_of(task) == {(one.name, one.head, one.on) for one in found.scores["unlearned"]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trial_of_an_agent_ends_in_wandbs_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_RUN_ID", "run1")
    words = words_of({"training.bf16": False, "model.widths": [8, 16, 16], "method.lr": 1e-4})
    assert (
        main([*sweep_command(tmp_path, "--objective", "original_cosine:image:forget"), *words]) == 0
    )
    assert wandb.run is None
    (stored,) = (tmp_path / "out").rglob("*.wandb")
    assert b"original_cosine:image:forget" in stored.read_bytes()
