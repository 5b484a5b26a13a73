"""What a run leaves in its record, and when a record is written again, signed again or kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from forgetmi.cli import main
from forgetmi.core.errors import CheckpointError, EvidenceError
from forgetmi.evidence.manifest import leaf
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.record_writing import signer_of, write_record
from forgetmi.evidence.signing import load_private
from forgetmi.evidence.verify import verify
from forgetmi.requests.ledger import Ledger
from forgetmi.run.finish import finish
from forgetmi.run.record import digests
from forgetmi.run.record_keeping import Recording, keep_record
from forgetmi.run.spec import GivenModels, PartitionSpec
from tests.evidence.copied_runs import Data, altered, copy, replace, run_of
from tests.runs import TINY, new_key


def test_a_record_says_what_was_done(signed_run: Path, tiny_data: Data) -> None:
    record, manifest = (
        read_record(signed_run),
        json.loads((signed_run / "manifest.json").read_text()),
    )
    cohort, partition = tiny_data
    assert set(record.subjects.patients) == set(cohort.patient[partition.forget])
    assert set(record.subjects.studies) == set(cohort.study[partition.forget])
    assert (record.request.id, record.number, record.previous) == ("R0001", 1, "")
    assert {one.name: one.weights for one in record.models} == manifest["models"]
    assert record.model("before").weights != record.model("after").weights
    assert [one.role for one in record.models] == ["before", "reference", "reference", "after"]
    assert record.method.kind == "forget_mi"
    assert record.method.options["epochs"] == 1
    assert record.finding("unlearned", "gap") is not None
    assert record.finding("unlearned", "auc", on="test") is not None
    assert record.cost["unlearned"]["cpu_seconds"] > 0
    assert {
        "spec.yaml",
        "partition.json",
        "metrics.json",
        "manifest.json",
        "report.html",
        "duplicates.json",
        "absence.json",
        "signals/original.npz",
        "signals/unlearned.npz",
    } <= set(record.files)


def test_a_run_first_tells_the_digest_of_its_rule(signed_run: Path) -> None:
    digest = hashlib.sha256((signed_run / "rule.json").read_bytes()).hexdigest()
    assert (
        (signed_run.parent / "printed")
        .read_text()
        .startswith(
            f"decision rule sha256 {digest}: note it elsewhere to prove later that it was fixed beforehand\n"
        )
    )


def test_forgotten_content_is_named_by_keyed_digests_of_the_files(
    signed_run: Path, tiny_data: Data
) -> None:
    """By hand: SHA-256 of the report's text, then HMAC with the key; the leaf was there before."""
    cohort, partition = tiny_data
    key = Path(os.environ["FORGETMI_KEY_FILE"]).read_bytes()
    stored = (signed_run / "absence.json").read_text()
    report = cohort.report[partition.forget[0]]
    assert leaf(key, "report", hashlib.sha256(report.encode()).hexdigest()) in stored
    assert hashlib.sha256(report.encode()).hexdigest() not in stored


def test_no_raw_identifier_is_recorded(signed_run: Path, tiny_data: Data) -> None:
    folder = Path(str(tiny_data[0].image[0]).split("#")[0]).parent
    lines = (folder / "cohort.csv").read_text().splitlines()
    place = lines[0].split(",").index("patient_id")
    raw = {line.split(",")[place] for line in lines[1:]} - {""}
    text = (signed_run / "record.json").read_text() + (signed_run / "absence.json").read_text()
    assert not [one for one in raw if len(one) > 4 and one in text]
    assert set(digests(signed_run)) == set(read_record(signed_run).files)


def test_a_chain_holds_until_a_link_is_altered(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    second, third = copy(signed_run, tmp_path / "two"), copy(signed_run, tmp_path / "three")
    for run, previous in ((second, signed_run), (third, second)):
        message = keep_record(run_of(run, tiny_data), TINY, Recording(sign_key, previous))
        assert "signed by" in message
    assert [read_record(run).number for run in (signed_run, second, third)] == [1, 2, 3]
    replace(third / "report.html", b"another")
    keep_record(run_of(third, tiny_data), TINY, Recording(sign_key))
    assert read_record(third).number == 3  # written again, it keeps its place
    checked = verify(third, previous=[signed_run, second])
    assert "the chain holds over 3 records" in checked.done
    assert any("--previous" in line for line in verify(third).open)
    with pytest.raises(EvidenceError, match="not part of this chain"):
        verify(third, previous=[signed_run])
    altered(second, lambda plain: plain.update(reason="another", signer=""))
    with pytest.raises(EvidenceError, match="not part of this chain"):
        verify(third, previous=[signed_run, second])


def test_the_same_run_keeps_its_record_and_a_signed_one_is_never_lost(
    signed_run: Path, tmp_path: Path, tiny_data: Data
) -> None:
    run = copy(signed_run, tmp_path)
    before = (run / "record.json").read_bytes()
    done = run_of(run, tiny_data)
    keep_record(done, TINY, Recording())
    assert (run / "record.json").read_bytes() == before
    replace(run / "report.html", b"another")
    assert "is signed and is kept" in keep_record(done, TINY, Recording())
    assert (run / "record.json").read_bytes() == before
    with pytest.raises(EvidenceError, match=r"report\.html.*altered"):
        verify(run)


def test_a_killed_signing_is_mended(signed_run: Path, tmp_path: Path, tiny_data: Data) -> None:
    run = copy(signed_run, tmp_path)
    write_record(run, dataclasses.replace(read_record(run), signer=""))
    before = (run / "record.json").read_bytes()
    (run / "record.sig").write_bytes(b"of a record that was never written")
    replace(run / "record.sha256", b"of a record that was never written")
    with pytest.raises(EvidenceError, match="was altered"):
        verify(run)
    keep_record(run_of(run, tiny_data), TINY, Recording())
    assert verify(run).record.to_bytes() == before
    assert not (run / "record.sig").exists()


def test_another_key_signs_only_what_is_new(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    run, other = copy(signed_run, tmp_path), new_key(tmp_path / "other.key")
    before = (run / "record.json").read_bytes()
    done = run_of(run, tiny_data)
    with pytest.raises(EvidenceError, match="signed by another key already") as refused:
        keep_record(done, TINY, Recording(other))
    for key in (sign_key, other):
        assert signer_of(load_private(key))[:16] in str(refused.value)
    assert (run / "record.json").read_bytes() == before
    assert "signed by" in keep_record(done, TINY, Recording(sign_key))
    assert (run / "record.json").read_bytes() == before
    replace(run / "report.html", b"another")
    keep_record(done, TINY, Recording(other))
    checked = verify(run, key=Path(f"{other}.pub"))
    assert (checked.record.number, checked.record.previous) == (1, "")


def test_auditing_again_leaves_no_stale_record(
    signed_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, before = copy(signed_run, tmp_path), (signed_run / "report.html").read_bytes()
    assert main(["audit", str(run)]) == 2
    assert "signed" in (said := capsys.readouterr().err)
    assert "--out DIR" in said
    assert main(["audit", str(run), "--out", str(signed_run)]) == 2
    assert "the directory of a run" in capsys.readouterr().err
    assert (run / "report.html").read_bytes() == before
    verify(run)
    write_record(run, dataclasses.replace(read_record(run), signer=""))
    assert main(["audit", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"decision rule sha256 {TINY.audit.digest}: signals are there already" in said
    assert "Record: " in said
    assert (run / "report.html").read_bytes() != before
    assert verify(run).record.number == 1


def test_altered_weights_are_not_sealed_anew(
    signed_run: Path, tmp_path: Path, tiny_data: Data
) -> None:
    run = copy(signed_run, tmp_path)
    weights = bytearray((run / "models" / "unlearned" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    replace(run / "models" / "unlearned" / "model.safetensors", bytes(weights))
    before = (run / "record.json").read_bytes()
    done = run_of(run, tiny_data)
    with pytest.raises(CheckpointError, match="altered"):
        keep_record(done, TINY, Recording())
    assert (run / "record.json").read_bytes() == before
    shutil.rmtree(run / "models" / "unlearned")
    shutil.copytree(run / "models" / "original", run / "models" / "unlearned")
    with pytest.raises(EvidenceError, match="not those that were measured"):
        keep_record(done, TINY, Recording())


@pytest.mark.slow
def test_two_withdrawals_from_one_model(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    cohort, partition = tiny_data
    new = str(cohort.patient[partition.retain[0]])
    (tmp_path / "list.csv").write_text(f"patient_digest\n{new}\n")
    spec = dataclasses.replace(
        TINY,
        given=GivenModels(original=signed_run / "models" / "unlearned"),
        partition=PartitionSpec(
            forget_list=tmp_path / "list.csv", after=signed_run / "partition.json"
        ),
    )
    done = finish(
        spec, tmp_path / "second", command=["forgetmi", "run"], how=Recording(sign_key, signed_run)
    )
    first, second = read_record(signed_run), read_record(tmp_path / "second")
    assert second.subjects.patients == (new,)
    assert {*first.subjects.patients, *first.subjects.studies} == {*(second.subjects.earlier or ())}
    assert second.model("before").weights == first.model("after").weights
    assert np.array_equal(done.partition.holdout, partition.holdout)
    assert (
        second.data.before == first.data.before
    )  # the cohort holds everybody still; both are about its training side
    assert second.data.leaves_after < first.data.leaves_after
    assert (
        "the chain holds over 2 records" in verify(tmp_path / "second", previous=[signed_run]).done
    )
    ledger = Ledger.make(tmp_path / "ledger.sqlite", key_id=cohort.key_id)
    for number, (patients, record) in enumerate(
        [(first.subjects.patients, first), ((new,), second)], 1
    ):
        ledger.add(
            received=date(2026, 1, number),
            due=date(2026, 2, number),
            term="gdpr",
            ground="",
            scope="all_studies",
            patients=patients,
        )
        ledger.close_requests([number], record, folder=tmp_path, note="a test")
    steps = ledger.steps()
    assert [step.requests for step in steps] == [(1,), (2,)]
    assert steps[1].before == steps[0].after
    assert all(step.auc is not None and step.gap is not None for step in steps)
