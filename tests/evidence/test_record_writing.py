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
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CheckpointError, EvidenceError
from forgetmi.core.partition import Partition
from forgetmi.evidence.manifest import leaf
from forgetmi.evidence.record_files import OWN_FILES, read_record
from forgetmi.evidence.record_writing import signer_of
from forgetmi.evidence.signing import load_private
from forgetmi.evidence.verify import verify
from forgetmi.requests.ledger import Ledger
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finish import finish
from forgetmi.run.pipeline import Run
from forgetmi.run.record import digests
from forgetmi.run.record_keeping import Recording, keep_record
from forgetmi.run.spec import GivenModels, PartitionSpec
from tests.evidence.copied_runs import (
    Data,
    altered,
    copy,
    replace,
    run_of,
    states,
    unrecorded,
    unsigned,
)
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
    second = unrecorded(signed_run, tmp_path / "two")
    third = unrecorded(signed_run, tmp_path / "three")
    for run, previous in ((second, signed_run), (third, second)):
        message = keep_record(run_of(run, tiny_data), TINY, Recording(sign_key, previous))
        assert "signed by" in message
    assert [read_record(run).number for run in (signed_run, second, third)] == [1, 2, 3]
    checked = verify(third, previous=[signed_run, second])
    assert "the chain holds over 3 records" in checked.done
    assert any("--previous" in line for line in verify(third).open)
    with pytest.raises(EvidenceError, match="not part of this chain"):
        verify(third, previous=[signed_run])
    altered(second, lambda plain: plain.update(reason="another", signer=""))
    with pytest.raises(EvidenceError, match="not part of this chain"):
        verify(third, previous=[signed_run, second])


def test_of_every_link_it_is_said_who_signed_it(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    other = new_key(tmp_path / "other.key")
    second = unrecorded(signed_run, tmp_path / "two")
    third = unrecorded(signed_run, tmp_path / "three")
    keep_record(run_of(second, tiny_data), TINY, Recording(other, signed_run))
    keep_record(run_of(third, tiny_data), TINY, Recording(sign_key, second))
    first, last = (signer_of(load_private(key)) for key in (sign_key, other))
    previous = [signed_run, second]

    # Of links whose key was given, and of others
    checked = verify(third, key=Path(f"{sign_key}.pub"), previous=previous)
    known = f"record 1 (run/record.json): signed by key {first}, which was given"
    unknown = f"record 2 (run/record.json): signed by key {last}, compared only with the key stored"
    assert known in checked.done
    assert any(line.startswith(unknown) for line in checked.open)
    keys = [Path(f"{key}.pub") for key in (other, sign_key)]
    checked = verify(third, key=keys, previous=previous)
    assert f"record 2 (run/record.json): signed by key {last}, which was given" in checked.done
    assert not any("signed by key" in line for line in checked.open)

    # Without a key nobody vouches for any; an unsigned link has no signer
    assert sum("compared only" in line for line in verify(third, previous=previous).open) == 2
    with pytest.raises(EvidenceError, match="another key than the one to trust"):
        verify(third, key=keys[0], previous=previous)
    fourth = unrecorded(signed_run, tmp_path / "four")
    before = unsigned(signed_run, tmp_path / "unsigned")
    keep_record(run_of(fourth, tiny_data), TINY, Recording(sign_key, before))
    assert "who made record 1 (run/record.json): it is not signed" in (
        verify(fourth, previous=[before]).open
    )


def test_a_record_that_holds_is_left_as_it_is(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    for run in (copy(signed_run, tmp_path / "1"), unsigned(signed_run, tmp_path / "2")):
        before = states(run)
        assert "Record: " in keep_record(run_of(run, tiny_data), TINY, Recording())
        assert states(run) == before
    run = tmp_path / "1" / "run"
    keep_record(run_of(run, tiny_data), TINY, Recording(sign_key))
    keep_record(run_of(run, tiny_data), TINY, Recording(sign_key, replace=True))
    assert not (run / "replaced").exists()


def test_a_signed_record_is_not_replaced_unasked(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    run, other = copy(signed_run, tmp_path), new_key(tmp_path / "other.key")
    done = run_of(run, tiny_data)
    before = states(run)
    second = unsigned(signed_run, tmp_path / "unsigned")
    for how, why in (
        (Recording(other), "signed by another key"),
        (Recording(sign_key, second), "it follows another record"),
        (Recording(None, second), "it follows another record"),
    ):
        with pytest.raises(EvidenceError, match=f"is kept as it is .*{why}"):
            keep_record(done, TINY, how)
    assert states(run) == before
    replace(run / "report.html", b"another")
    before = states(run)
    for how in (Recording(), Recording(sign_key), Recording(other)):
        with pytest.raises(EvidenceError, match=r"not as it says: report\.html"):
            keep_record(done, TINY, how)
    assert states(run) == before


def test_a_replaced_record_is_kept_as_the_one_before(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    run, other = copy(signed_run, tmp_path), new_key(tmp_path / "other.key")
    old = read_record(signed_run)
    replace(run / "report.html", b"another")
    message = keep_record(run_of(run, tiny_data), TINY, Recording(other, replace=True))
    assert "Replaced: record 1, kept in " in message
    assert message.endswith("\nNot as record 1 said: report.html")
    new = read_record(run)
    assert (new.number, new.previous, new.replaces) == (2, old.digest, "replaced/1")
    for name in OWN_FILES:
        assert (run / "replaced" / "1" / name).read_bytes() == (signed_run / name).read_bytes()

    # The chain is followed without being told where the old one lies
    checked = verify(run, key=[Path(f"{key}.pub") for key in (sign_key, other)])
    assert "the chain holds over 2 records" in checked.done
    assert any("which record 2 replaced: signed by key" in line for line in checked.done)
    assert not any("does not name" in line for line in checked.open)

    # A record that followed the old one still finds it, and so does a second replacement
    later = unrecorded(signed_run, tmp_path / "later")
    keep_record(run_of(later, tiny_data), TINY, Recording(sign_key, signed_run))
    checked = verify(later, previous=[run])
    assert "the chain holds over 2 records" in checked.done
    assert any("record 1 (run/replaced/1/record.json): signed" in line for line in checked.open)
    replace(run / "report.html", b"a third")
    keep_record(run_of(run, tiny_data), TINY, Recording(sign_key, replace=True))
    assert "the chain holds over 3 records" in verify(run).done

    # Files that are no records of this run are named, and nothing more
    (run / "replaced" / "9").mkdir()
    (run / "replaced" / "9" / "record.json").write_text("{}")
    assert any(line.startswith("replaced/9/record.json: ") for line in verify(run).open)

    # Nothing of it may be lost or altered
    kept = run / "replaced" / "1" / "record.json"
    content = kept.read_bytes()
    replace(kept, content.replace(b"privacy officer", b"privacy 0fficer"))
    with pytest.raises(EvidenceError, match=r"replaced/1/record\.json: the file was altered"):
        verify(run)
    shutil.rmtree(run / "replaced" / "2")
    replace(kept, content)
    with pytest.raises(EvidenceError, match=r"replaced/2/record\.json: .*is missing"):
        verify(run)


def test_a_killed_replacement_is_mended(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    run = copy(signed_run, tmp_path)
    replace(run / "report.html", b"another")
    old = (run / "record.json").read_bytes()
    how = Recording(sign_key, replace=True)
    keep_record(run_of(run, tiny_data), TINY, how)

    # All but the record itself was written
    replace(run / "record.json", old)
    with pytest.raises(EvidenceError, match="is kept as it is"):
        keep_record(run_of(run, tiny_data), TINY, Recording(sign_key))
    keep_record(run_of(run, tiny_data), TINY, how)
    assert "the chain holds over 2 records" in verify(run).done
    assert [path.name for path in (run / "replaced").iterdir()] == ["1"]


def test_replacing_needs_a_key_and_no_other_predecessor(
    signed_run: Path, sign_key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = states(signed_run)
    assert main(["record", str(signed_run), "--replace", "--previous", str(signed_run)]) == 2
    said = capsys.readouterr().err
    assert "a signed record is replaced by a signed one only" in said
    assert "Leave out --previous" in said
    assert states(signed_run) == before


def test_a_killed_signing_is_mended(signed_run: Path, tmp_path: Path, tiny_data: Data) -> None:
    run = unsigned(signed_run, tmp_path)
    before = (run / "record.json").read_bytes()
    (run / "record.sig").write_bytes(b"of a record that was never written")
    replace(run / "record.sha256", b"of a record that was never written")
    with pytest.raises(EvidenceError, match="was altered"):
        verify(run)
    keep_record(run_of(run, tiny_data), TINY, Recording())
    assert verify(run).record.written >= json.loads(before)["written"]
    assert not (run / "record.sig").exists()


def test_a_finished_run_is_signed_as_it_is_without_its_data(
    signed_run: Path, sign_key: Path, tmp_path: Path
) -> None:
    """Signing reads nothing but the run: no cohort, no images."""
    run = unsigned(signed_run, tmp_path)
    before = read_record(run)
    done = Run(RunDirectory(run), None, None, None)  # type: ignore[arg-type]
    keep_record(done, TINY, Recording(None, signed_run))
    placed = dataclasses.replace(before, number=2, previous=read_record(signed_run).digest)
    assert read_record(run) == placed
    keep_record(done, TINY, Recording(sign_key))
    signed = verify(run, key=Path(f"{sign_key}.pub"), previous=[signed_run]).record
    assert signed == dataclasses.replace(placed, signer=signed.signer)


def test_what_an_unsigned_record_says_is_compared_before_it_is_signed(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    run = unsigned(signed_run, tmp_path)
    altered(run, lambda plain: plain["decision"].update(outcome="FORGOTTEN"))
    verify(run)  # unsigned and consistent
    keep_record(run_of(run, tiny_data), TINY, Recording(sign_key))
    assert read_record(run).decision == read_record(signed_run).decision


def test_altered_weights_are_not_sealed(signed_run: Path, tmp_path: Path, tiny_data: Data) -> None:
    run = copy(signed_run, tmp_path)
    weights = bytearray((run / "models" / "unlearned" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    replace(run / "models" / "unlearned" / "model.safetensors", bytes(weights))
    before = (run / "record.json").read_bytes()
    done = run_of(run, tiny_data)
    with pytest.raises(EvidenceError, match=r"models/unlearned/model\.safetensors"):
        keep_record(done, TINY, Recording())
    assert (run / "record.json").read_bytes() == before
    for name in OWN_FILES:
        (run / name).unlink()
    with pytest.raises(CheckpointError, match="altered"):
        keep_record(done, TINY, Recording())
    shutil.rmtree(run / "models" / "unlearned")
    shutil.copytree(run / "models" / "original", run / "models" / "unlearned")
    with pytest.raises(EvidenceError, match="not those that were measured"):
        keep_record(done, TINY, Recording())


def _of_two_grades(cohort: Cohort, partition: Partition) -> str:
    """A retained patient whose films have different grades: a measure of one grade alone there would be none."""
    for row in partition.retain:
        own = partition.retain[cohort.patient[partition.retain] == cohort.patient[row]]
        if len({*cohort.label[own].tolist()} - {-1}) > 1:
            return str(cohort.patient[row])
    raise AssertionError("no retained patient has films of two grades")


@pytest.mark.slow
def test_two_withdrawals_from_one_model(
    signed_run: Path, sign_key: Path, tmp_path: Path, tiny_data: Data
) -> None:
    cohort, partition = tiny_data
    new = _of_two_grades(cohort, partition)
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
