"""The former option `ordinal` is read as the task it meant, in files, on command lines and in records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.cohort.table import TableCohort
from forgetmi.commands.options import NoOptions, parse
from forgetmi.core.errors import SpecError
from forgetmi.core.former_options import present_values
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.record import Recompute
from forgetmi.run.spec import RunSpec, read_yaml
from forgetmi.run.stored_cohort import CohortFacts


@pytest.mark.parametrize(("flag", "task"), [("true", "grades"), ("false", "classes")])
def test_a_specification_of_the_version_before(tmp_path: Path, flag: str, task: str):
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"cohort: {{kind: table, path: x.csv, ordinal: {flag}, name: ours}}\n")
    assert read_yaml(spec).cohort == TableCohort(Path("x.csv"), task=task, name="ours")  # type: ignore[arg-type]


def test_both_names_are_refused(tmp_path: Path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("cohort: {kind: synthetic, ordinal: false, task: grades}\n")
    with pytest.raises(SpecError, match="former name"):
        read_yaml(spec)


def test_a_flag_that_is_no_truth_value_is_an_unknown_key(tmp_path: Path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("cohort: {kind: synthetic, ordinal: perhaps}\n")
    with pytest.raises(SpecError, match=r"unknown key 'cohort\.ordinal'"):
        read_yaml(spec)


@pytest.mark.parametrize(
    ("words", "task"), [(["--cohort.ordinal"], "grades"), (["--cohort.no-ordinal"], "classes")]
)
def test_a_flag_of_the_version_before(
    capsys: pytest.CaptureFixture[str], words: list[str], task: str
):
    start = RunSpec(cohort=SyntheticCohort(task="grades" if task == "classes" else "classes"))
    spec, _ = parse(NoOptions, words, prog="forgetmi", description="", start=start)
    assert spec.cohort.task == task
    assert f"{words[0]} is now --cohort.task {task}" in capsys.readouterr().err


def test_a_reader_with_an_option_of_that_name_keeps_it():
    values = {"ordinal": True}
    assert present_values(values, {"ordinal", "path"}, where="spec.yaml") == values
    assert present_values(values, {"path"}, where="spec.yaml") == values


def test_what_a_run_of_the_version_before_kept_of_its_cohort():
    kept = {
        "name": "ours",
        "classes": ["a", "b"],
        "ordinal": False,
        "show_images": False,
        "digest": "d",
        "key_id": "k",
        "notices": [],
    }
    assert from_plain(CohortFacts, kept, where="cohort.json", complete=True).task == "classes"


@pytest.mark.parametrize("task", ["grades", "classes"])
def test_records_of_todays_tasks_keep_their_form(task: str):
    stored = {"seed": 1, "resamples": 10, "ordinal": task == "grades"}
    read = from_plain(Recompute, stored, where="record.json", complete=True)
    assert read == Recompute.of(1, 10, task)
    assert read.of_task == task


def test_a_record_names_another_task():
    made = Recompute.of(1, 10, "findings")
    stored = json.loads(json.dumps(made.__dict__))
    assert from_plain(Recompute, stored, where="record.json", complete=True).of_task == "findings"
