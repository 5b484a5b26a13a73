"""A finished run given again is left as it is; one that is not whole goes on, or says what is wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.cohort.partition_file import write_partition
from forgetmi.core.errors import EvidenceError, PartitionError, SpecError
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.verify import verify
from forgetmi.run.finish import finish
from forgetmi.run.record_keeping import Recording
from forgetmi.run.run_data import load_data
from forgetmi.run.spec import GivenModels, write_yaml
from tests.evidence.copied_runs import copy, replace, states, unrecorded, unsigned
from tests.runs import TINY

COMMAND = ["forgetmi", "run"]


@pytest.mark.parametrize("kind", ["signed", "not signed"])
def test_a_finished_run_is_left_to_the_byte(
    kind: str, signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(signed_run, tmp_path) if kind == "signed" else unsigned(signed_run, tmp_path)
    before = states(run)
    done = finish(TINY, run, command=["forgetmi", "another"])
    assert states(run) == before
    assert done.evaluation.scores
    said = capsys.readouterr().out
    assert "The run is finished already. Nothing was done." in said
    assert "decision rule" not in said


def test_on_the_command_line_it_ends_with_0(
    signed_run: Path, sign_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(signed_run, tmp_path)
    spec = tmp_path / "spec.yaml"
    spec.write_text(write_yaml(TINY))
    before = states(run)
    for more in ([], ["--sign-key", str(sign_key), "--replace"]):
        assert main(["run", "--spec", str(spec), "--out", str(run), *more]) == 0
        assert "Nothing was done" in capsys.readouterr().out
    assert states(run) == before


def test_it_may_still_be_signed(
    signed_run: Path, sign_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unsigned(signed_run, tmp_path)
    before = {name: state for name, state in states(run).items() if "/record." not in name}
    finish(TINY, run, command=COMMAND, how=Recording(sign_key))
    assert "Its record was written; nothing else was done" in capsys.readouterr().out
    after = {name: state for name, state in states(run).items() if "/record." not in name}
    assert after == before
    assert verify(run, key=Path(f"{sign_key}.pub")).record.signer


@pytest.mark.parametrize("name", ["report.html", "models/unlearned/model.safetensors"])
def test_a_signed_run_with_an_altered_file_is_refused_and_left(
    name: str, signed_run: Path, tmp_path: Path
) -> None:
    run = copy(signed_run, tmp_path)
    replace(run / name, (run / name).read_bytes() + b" ")
    (run / "metrics.csv").unlink()
    before = states(run)
    with pytest.raises(EvidenceError) as refused:
        finish(TINY, run, command=COMMAND)
    assert {fault.where for fault in refused.value.faults} == {"run", name, "metrics.csv"}
    assert "--replace with --sign-key" in str(refused.value)
    assert states(run) == before


def test_what_is_missing_of_a_signed_run_is_made_again_on_request(
    signed_run: Path, sign_key: Path, tmp_path: Path
) -> None:
    run = copy(signed_run, tmp_path)
    manifest = (run / "manifest.json").read_bytes()
    (run / "engineer.html").unlink()
    finish(TINY, run, command=["forgetmi", "later"], how=Recording(sign_key, replace=True))
    assert (run / "engineer.html").exists()
    checked = verify(run, key=Path(f"{sign_key}.pub"))
    assert checked.record.previous == read_record(signed_run).digest
    assert "the chain holds over 2 records" in checked.done

    # The command that made the models stays
    commands = {
        json.loads(text)["command"] for text in (manifest, (run / "manifest.json").read_text())
    }
    assert commands == {"forgetmi run"}


def test_what_somebody_altered_is_not_taken_over_on_the_way(
    signed_run: Path, sign_key: Path, tmp_path: Path
) -> None:
    """Only pages and scores are written anew; a run would go on with any other altered file."""
    run = copy(signed_run, tmp_path)
    replace(run / "report.html", b"altered")
    replace(run / "signals" / "retrain-0.npz", (run / "signals" / "retrain-1.npz").read_bytes())
    before = states(run)
    how = Recording(sign_key, replace=True)
    with pytest.raises(EvidenceError, match="would go on with what somebody altered") as refused:
        finish(TINY, run, command=COMMAND, how=how)
    assert {fault.where for fault in refused.value.faults} == {"run", "signals/retrain-0.npz"}
    assert states(run) == before


@pytest.mark.slow
def test_an_unsigned_run_that_lacks_something_goes_on(signed_run: Path, tmp_path: Path) -> None:
    run = unsigned(signed_run, tmp_path)
    (run / "letter.html").unlink()
    finish(TINY, run, command=COMMAND)
    assert (run / "letter.html").exists()
    verify(run)


def test_another_run_is_refused_there(signed_run: Path, tmp_path: Path) -> None:
    run = copy(signed_run, tmp_path)
    before = states(run)
    with pytest.raises(SpecError, match=r"another run.*retrains"):
        finish(dataclasses.replace(TINY, retrains=1), run, command=COMMAND)
    assert states(run) == before


def test_the_same_words_must_mean_the_same_patients(
    signed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list was edited in place, and the same command is given again: that is no finished run."""
    run = copy(signed_run, tmp_path)
    before = states(run)
    cohort, partition = load_data(TINY)
    moved = dataclasses.replace(
        partition, holdout=partition.holdout[:0], reference=partition.holdout
    )
    monkeypatch.setattr("forgetmi.run.finished.load_data", lambda spec: (cohort, moved))
    with pytest.raises(PartitionError, match="the forget list has changed"):
        finish(TINY, run, command=COMMAND)
    assert states(run) == before


def test_a_given_original_must_be_the_same_or_what_was_made_of_it(
    signed_run: Path, tmp_path: Path
) -> None:
    run, service = unrecorded(signed_run, tmp_path), tmp_path / "service"
    service.symlink_to(run / "models" / "original")
    spec = dataclasses.replace(TINY, given=GivenModels(original=service))
    replace(run / "spec.yaml", write_yaml(spec).encode())
    (run / "partition.json").unlink()
    write_partition(run / "partition.json", load_data(spec)[1])
    finish(spec, run, command=COMMAND)

    # The model in service was replaced: by the unlearned one, then by another
    before = states(run)
    for name in ("original", "unlearned"):
        service.unlink()
        service.symlink_to(run / "models" / name)
        finish(spec, run, command=COMMAND)
    service.unlink()
    service.symlink_to(run / "models" / "retrain-0")
    with pytest.raises(SpecError, match="service: the given original is another model"):
        finish(spec, run, command=COMMAND)
    assert states(run) == before


def test_a_dry_run_names_the_rule_that_can_be_noted_beforehand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(write_yaml(TINY))
    assert main(["run", "--spec", str(spec), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert f"note: decision rule sha256 {TINY.audit.digest}: note it elsewhere" in said
    assert not (tmp_path / "out").exists()
