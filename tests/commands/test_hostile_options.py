"""Numbers that no run can use are refused before any work: on the command line, in files, in sweeps, by a dry run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from forgetmi.cli import main

HUGE = "9" * 20

OPTIONS = {
    "--seed 1e400": "--seed",
    "--seed " + "9" * 5000: "--seed",
    f"--seed {HUGE}": "seed must be a whole number of at most 64 bits",
    "--seed -1": "seed must be at least 0",
    "--split-seed -1": "split_seed must be at least 0",
    f"--method.epochs {HUGE}": "method.epochs must be a whole number of at most 64 bits",
    "--method.epochs 1000001": "method.epochs must be at most 1e+06",
    "--method.lr nan": "method.lr is not a number",
    "--method.lr inf": "method.lr must be finite",
    "--method.noise-std -0.1": "method.noise_std must be at least 0",
    "--method.text-level 1.5": "method.text_level must be from 0 to 1",
    "--method.weight-decay -1": "method.weight_decay must be at least 0",
    "--training.lr inf": "training.lr must be finite",
    "--training.shift nan": "shift must be at least 0",
    "--audit.rule.resamples " + HUGE: "resamples must be a whole number of at most 64 bits",
    "--audit.rule.seed -5": "audit.rule.seed must be at least 0",
    "--audit.relearn-lr nan": "the audit's relearn_lr is out of range",
    "--partition.percent 100": "partition.percent must be below 100",
    "--partition.percent 0": "partition.percent must be above 0",
    "--partition.percent nan": "partition.percent is not a number",
    "--partition.draw -1": "partition.draw must be at least 0",
    "--partition.holdout 1": "partition.holdout must be below 1",
    "--text.vocabulary 0": "text.vocabulary must be at least 6",
    "--text.min-patients 0": "text.min_patients must be at least 1",
    "--text.max-length 1": "text.max_length must be at least 2",
    "--images.size 0": "image size 0 is out of range",
    "--model.widths 0": "model.widths[0] must be at least 1",
    "--model.hidden -4": "model.hidden must be at least 0",
    "--model.dropout 1": "model.dropout must be below 1",
    "--batch-size 0": "batch_size must be at least 1",
    "--threads 100000": "threads must be at most 1024",
    "--workers 1000000": "workers must be at most 4096",
    "--resamples 99999999": "resamples must be at most 1e+07",
    "--cohort.seed -1": "cohort.seed must be at least 0",
}


@pytest.mark.parametrize("words", OPTIONS)
def test_numbers_out_of_range_are_refused_by_a_dry_run(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    try:
        code = main(["run", "--out", str(out), "--dry-run", *words.split()])
    except SystemExit as stopped:  # what no number can be read from
        code = stopped.code
    assert code == 2
    said = capsys.readouterr()
    assert OPTIONS[words] in said.err + said.out
    assert len(said.err) < 3000
    assert not out.exists()


FILES = {
    "": "the file is empty",
    "# nothing\n": "the file is empty",
    "seed: *a": "aliases",
    f"seed: {HUGE}": "line 1: .*64 bits",
    "seed: 1e400": "seed does not fit",
    "training:\n  lr: nan\n": "training.lr does not fit",
    "training:\n  lr: .inf\n": "line 2: .*infinite",
    "training: {epochs: 1}\ntraining: {lr: 0.1}\n": "lines 1 and 2: key 'training' is given twice",
    "partition: {date: 2024-02-30, percent: [1]}": "partition.percent does not fit",
    "cohort: {kind: [1]}": "there is no cohort named",
    "method: null": "method needs a key 'kind'",
    'given: {original: "a\\0b"}': "given.original does not fit",
}


@pytest.mark.parametrize("text", FILES)
def test_specifications_are_read_strictly(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(text)
    words = ["run", "--spec", str(spec), "--out", str(tmp_path / "out"), "--dry-run"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    import re

    assert re.search(FILES[text], said)


SWEEPS = {
    "parameters: {seed: {value: *a}}": "aliases",
    "parameters: {seed: {min: 0, max: 1000000000000}}\nmethod: grid": "more than 1,000,000 values",
    f"parameters: {{{', '.join(f'a{k}: {{min: 1, max: 100}}' for k in range(5))}}}\nmethod: grid": "too many",
    "parameters: {seed: {distribution: log_uniform, min: 0, max: 1000}}": "larger than any number",
    "parameters: {seed: {distribution: [1]}}": "is not understood",
    "parameters: {seed: {values: [1], probabilities: [[]]}}": "is not a finite number",
    "parameters: {seed: {value: 1}}\nparameters: {seed: {value: 2}}": "lines 1 and 2",
    "parameters: {seed: {value: 1}}\nrun_cap: [9]": "run_cap",
    "parameters: {seed: {value: 1}}\nearly_terminate: {type: [hyperband]}": "early_terminate",
    "[1]": "no mapping 'parameters'",
    "": "the file is empty",
}  # fmt: skip


@pytest.mark.parametrize("text", SWEEPS)
def test_sweep_files_are_read_strictly(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(text)
    assert main(["sweep", str(sweep), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: sweep.yaml")
    assert SWEEPS[text] in said


@pytest.mark.parametrize("value", ["*a", HUGE, "{a: 1, a: 2}", ".nan", "[" * 300])
def test_settings_of_a_benchmark_are_read_strictly(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--methods", f"forget_mi:epochs={value}", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main(["benchmark", *words]) == 2
    assert capsys.readouterr().err.startswith("error: forget_mi:epochs=")


def test_an_option_of_a_setting_is_given_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--methods", "forget_mi:epochs=1,epochs=2", "--out", str(tmp_path / "out")]
    assert main(["benchmark", *words, "--dry-run"]) == 2
    assert "'epochs' is given twice" in capsys.readouterr().err


def test_a_vocabulary_of_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--cohort.patients", "40", "--cohort.size", "32", "--text.min-patients", "41"]
    assert main(["run", "--out", str(tmp_path / "out"), "--dry-run", *words]) == 2
    assert "no word piece can come from 41 patients" in capsys.readouterr().err


def test_a_dry_run_looks_at_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "other.txt").write_text("x")
    words = ["--given.original", str(tmp_path / "no_model"), "--partition.forget-list", "no.csv"]
    assert main(["run", "--out", str(taken), "--dry-run", "--cohort.patients", "40", *words]) == 2
    said = capsys.readouterr().err
    assert "holds no run" in said
    assert "no_model/model.json" in said
    assert "no.csv" in said
    assert [path.name for path in taken.iterdir()] == ["other.txt"]


def entered(folder: Path, *words: str) -> Path:
    """A ledger with one request."""
    listed = folder / "who.csv"
    listed.write_text("patient_id\n7001\n")
    ledger = folder / "a?b#c%41.sqlite"
    assert main(["requests", "add", "--who", str(listed), "--ledger", str(ledger), *words]) == 0
    return ledger


def test_a_ground_prints_no_second_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ground = "consent withdrawn\nR0002  closed  due 2024-02-05 \x1b[31m\u202e"
    ledger = entered(tmp_path, "--ground", ground, "--received", "2024-01-05")
    capsys.readouterr()
    for action in (["list"], ["due", "--today", "2024-01-06"]):
        assert main(["requests", *action, "--ledger", str(ledger)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1
        assert "\\nR0002" in lines[0]
        assert lines[0].isprintable()


def test_a_database_has_the_name_it_was_given(tmp_path: Path) -> None:
    ledger = entered(tmp_path)
    assert ledger.is_file()
    assert {path.name.split("-")[0] for path in tmp_path.glob("a*")} == {ledger.name}


@pytest.mark.parametrize("received", ["9999-12-31", "9999-12-01"])
def test_no_deadline_lies_after_the_calendar(
    received: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "who.csv"
    listed.write_text("patient_id\n7001\n")
    words = ["--who", str(listed), "--ledger", str(tmp_path / "l.sqlite"), "--received", received]
    assert main(["requests", "add", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --received: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE requests SET due = 'soon'",
        "UPDATE requests SET received = 20240105",
        "UPDATE requests SET state = 'lost'",
        "UPDATE requests SET ground = x'ff00'",
        "UPDATE requests SET batch = 'first'",
        "UPDATE subjects SET kind = 'dog'",
        "UPDATE subjects SET digest = x'05'",
        "UPDATE ledger SET format = 9",
        "DROP TABLE subjects",
        "ALTER TABLE requests RENAME COLUMN due TO until",
    ],
)
def test_a_damaged_ledger_is_one_error(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = entered(tmp_path, "--received", "2024-01-05")
    connection = sqlite3.connect(ledger)
    connection.execute(change)
    connection.commit()
    connection.close()
    capsys.readouterr()
    assert main(["requests", "list", "--ledger", str(ledger)]) == 2
    assert capsys.readouterr().err.startswith("error: a?b#c%41.sqlite: ")


def test_another_programs_database_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE films (name TEXT)")
    connection.commit()
    connection.close()
    assert main(["requests", "list", "--ledger", str(path)]) == 2
    assert "this is no ledger" in capsys.readouterr().err
    tables = sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("films",)]
