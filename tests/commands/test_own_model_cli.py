"""The command line on a model of the user's own: every command works, or refuses in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.core.registry import methods
from forgetmi.evidence.verify import verify
from tests.contract.test_foreign_models import REFUSED

FROM = ["--model-from", "examples.own_model:factory"]
FILMS = ["--model-from", "tests.contract.foreign:films"]
COHORT = ["--cohort.patients", "24", "--cohort.size", "32", "--cohort.seed", "3"]
DATA = [*COHORT, "--images.size", "32", "--text.min-patients", "2", "--seed", "3"]
TRAINING = ["--training.epochs", "1", "--partition.percent", "12"]
QUICK = ["--retrains", "2", "--resamples", "20", "--audit.relearn-epochs", "1", "--workers", "1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An original of the user's own model, from the command line."""
    out = tmp_path_factory.mktemp("own") / "original"
    assert main(["train", "--out", str(out), *FROM, *DATA, *TRAINING]) == 0
    return out


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that is refused says."""
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("error") == 1
    return said


def test_methods_says_which_apply_and_why_not_the_others(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["methods", *FILMS]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.strip().splitlines())
    assert set(lines) == set(methods.names())
    refused = {name for name, said in lines.items() if said.startswith("does not apply: ")}
    assert refused == REFUSED["image only"] | {"forget_mi_release", "s3t"}
    assert {said for name, said in lines.items() if name not in refused} == {"applies"}

    # Of a stored model the same, by its folder
    assert main(["methods", "--model", str(trained), *FROM]) == 0
    assert "forget_mi: applies\n" in capsys.readouterr().out


def test_nothing_that_a_checkpoint_names_is_run_unasked(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = ["--checkpoint", str(trained), *COHORT]
    for command in (
        ["predict", *checkpoint, "--out", str(tmp_path / "x.npz")],
        ["unlearn", *checkpoint, "--out", str(tmp_path / "x"), "--method", "fine_tune"],
        ["methods", "--model", str(trained)],
        ["run", *DATA, "--given.original", str(trained), "--out", str(tmp_path / "run")],
    ):
        assert "--model-from examples.own_model:factory" in refusal(command, capsys)
    other = refusal(["methods", "--model", str(trained), *FILMS], capsys)
    assert "it was made by 'examples.own_model:factory', not by" in other

    # Nor what a specification names
    spec = tmp_path / "spec.yaml"
    spec.write_text("model: {factory: 'examples.own_model:factory'}\n")
    named = refusal(["run", "--spec", str(spec), "--out", str(tmp_path / "run")], capsys)
    assert "no code that a file names is run unasked" in named
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_method_that_does_not_apply_is_refused_before_anything_is_written(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    joint = "Forget-MI does not apply to this model (it works on a joint embedding"
    for command in (
        ["run", *out, *FILMS, *DATA],
        ["run", "--dry-run", *out, *FILMS, *DATA],
        ["train", *out, *FILMS, *DATA],
        ["benchmark", *out, *FILMS, *DATA, "--methods", "forget_mi"],
    ):
        assert joint in refusal(command, capsys)

    # On the checkpoint of a model that lacks nothing but the paper's own gate
    release = ["--method", "forget_mi_release"]
    unlearn = ["unlearn", "--checkpoint", str(trained), *out, *FROM, *COHORT, *release]
    assert "does not apply to this model (it is written for the paper's" in refusal(unlearn, capsys)
    people = tmp_path / "list.csv"
    people.write_text("patient_id\n1\n")
    withdraw = ["withdraw", "--model", str(trained), "--list", str(people), *out, *FROM, *release]
    assert "does not apply to this model" in refusal([*withdraw, *COHORT], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("examples.own_model", "names no factory"),
        ("examples.own_model:nobody", "has no function"),
        ("examples.no_such_file:factory", "cannot be imported"),
        ("examples.own_model:FilmAndReport", "returns FilmAndReport, not what forgetmi.adapt made"),
        ("examples.own_model:save", "made no model"),
    ],
)
def test_a_factory_that_is_none(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--out", str(tmp_path / "out"), "--model-from", name, *DATA]
    assert said in refusal(words, capsys)
    assert not list(tmp_path.iterdir())


def test_an_unlearned_model_is_stored_and_found_whole(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "unlearned"
    words = ["unlearn", "--checkpoint", str(trained), "--out", str(out), *FROM, *COHORT]
    words += ["--method", "chip", "--partition.percent", "12", "--seed", "3"]
    assert main(words) == 0
    facts = json.loads((out / "model.json").read_text())
    assert facts["spec"]["factory"] == "examples.own_model:factory"
    assert len(facts["spec"]["source"]) == 64
    assert (out / "own" / "0" / "project.pt").is_file()
    assert main(words) == 0  # finished already

    # Altered files are refused before the user's function reads them
    (out / "own" / "0" / "project.pt").write_bytes(b"other weights")
    assert main(words) == 2


@pytest.mark.slow
def test_every_command_from_training_to_a_withdrawal(tmp_path: Path) -> None:
    run, table = tmp_path / "run", tmp_path / "table"
    assert main(["cohort", "make", "--out", str(table), "--patients", "40", "--size", "32"]) == 0
    cohort = ["--spec", str(table / "spec.yaml")]
    data = [*cohort, *DATA[6:], *TRAINING]
    assert main(["run", "--out", str(run), *FROM, *data, *QUICK, "--method", "cf_k"]) == 0

    # The record names the factory and its source, and holds
    record = json.loads((run / "record.json").read_text())
    assert record["environment"]["factory"].startswith("examples.own_model:factory sha256 ")
    assert verify(run).record.environment.factory
    assert "made by examples.own_model:factory" in (run / "report.html").read_text()
    assert main(["audit", str(run)]) in (0, 10, 11, 12)
    assert main(["report", str(run)]) == 0

    # Signals of both models, measured again
    for role in ("original", "unlearned"):
        out = ["--out", str(tmp_path / f"{role}.npz")]
        folder = ["--checkpoint", str(run / "models" / role)]
        assert main(["predict", *folder, *out, *FROM, *cohort]) == 0
    measured = [
        "--original",
        str(tmp_path / "original.npz"),
        "--out",
        str(tmp_path / "metrics.json"),
    ]
    measured += ["--unlearned", str(tmp_path / "unlearned.npz"), "--resamples", "0", *cohort]
    assert main(["evaluate", *measured, "--partition", str(run / "partition.json")]) == 0

    # Somebody who was trained on withdraws from the unlearned model
    retained = json.loads((run / "partition.json").read_text())["retain"][0]
    rows = (table / "cohort.csv").read_text().splitlines()
    place = rows[0].split(",").index("patient_id")
    people = tmp_path / "list.csv"
    people.write_text(f"patient_id\n{rows[1 + retained].split(',')[place]}\n")
    words = ["withdraw", "--model", str(run), "--list", str(people), "--received", "2026-01-01"]
    words += ["--out", str(tmp_path / "withdrawal"), *QUICK, "--method", "fine_tune"]
    assert main(words) == 2  # the factory must be named again
    assert main([*words, *FROM]) in (0, 10, 11, 12)

    # Shadow models and a benchmark
    pool = ["shadows", str(run), "--out", str(tmp_path / "pool"), "--models", "2"]
    assert main(pool) == 2
    assert main([*pool, *FROM]) == 0
    grid = ["--percents", "12", "--training-seeds", "3", "--no-presets", "--methods", "fine_tune"]
    assert (
        main(["benchmark", "--out", str(tmp_path / "b"), *FROM, *data[:-2], *grid, *QUICK[:4]]) == 0
    )
