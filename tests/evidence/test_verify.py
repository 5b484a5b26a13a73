"""A record holds as it was written; any altered byte of it, or of a file it names, is found and named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetmi.cli import main
from forgetmi.cohort.partition_file import write_partition
from forgetmi.core.errors import CheckpointError, EvaluationError, EvidenceError
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.evaluation.suite import evaluate
from forgetmi.evidence.manifest import Proof, Proofs, leaf, proof_faults
from forgetmi.evidence.merkle import Absence, Inclusion, MerkleTree
from forgetmi.evidence.record import TrainingData
from forgetmi.evidence.record_files import OWN_FILES, read_record
from forgetmi.evidence.record_writing import signer_of, write_record
from forgetmi.evidence.signing import load_private
from forgetmi.evidence.verify import verify
from forgetmi.requests.ledger import Ledger
from forgetmi.run import recompute
from forgetmi.run.audit_stage import read_draw, run_audit
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finish import finish
from forgetmi.run.pipeline import Run
from forgetmi.run.record import Recording, digests, keep_record, record_of
from forgetmi.run.run_data import load_data
from forgetmi.run.spec import GivenModels, PartitionSpec
from tests.evidence.conftest import TINY, new_key


def copy(run: Path, to: Path) -> Path:
    """A copy whose files are links, so that a change must replace them."""
    shutil.copytree(run, to / "run", copy_function=os.link)
    return to / "run"


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def test_a_record_holds_and_says_what_it_cannot(finished: Path, sign_key: Path) -> None:
    checked = verify(finished, key=Path(f"{sign_key}.pub"))
    assert any("is the one to trust" in line for line in checked.done)
    assert any("first of its chain" in line for line in checked.done)
    assert any("proven absent" in line for line in checked.done)
    without = verify(finished / "record.json")
    assert any("whose key it is" in line for line in without.open)


def test_a_record_says_what_was_done(finished: Path) -> None:
    record, manifest = read_record(finished), json.loads((finished / "manifest.json").read_text())
    cohort, partition = load_data(TINY)
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


def test_a_run_first_tells_the_digest_of_its_rule(finished: Path) -> None:
    digest = hashlib.sha256((finished / "rule.json").read_bytes()).hexdigest()
    assert (
        (finished.parent / "said")
        .read_text()
        .startswith(
            f"decision rule sha256 {digest}: note it elsewhere to prove later that it was fixed beforehand\n"
        )
    )


def test_forgotten_content_is_named_by_keyed_digests_of_the_files(finished: Path) -> None:
    """By hand: SHA-256 of the report's text, then HMAC with the key; the leaf was there before."""
    cohort, partition = load_data(TINY)
    key = Path(os.environ["FORGETMI_KEY_FILE"]).read_bytes()
    stored = (finished / "absence.json").read_text()
    report = cohort.report[partition.forget[0]]
    assert leaf(key, "report", hashlib.sha256(report.encode()).hexdigest()) in stored
    assert hashlib.sha256(report.encode()).hexdigest() not in stored


def test_an_altered_byte_is_found_in_the_record_and_its_own_files(
    finished: Path, tmp_path: Path
) -> None:
    run = copy(finished, tmp_path)
    for name in OWN_FILES:
        original = (run / name).read_bytes()
        places = sorted(
            {
                0,
                len(original) - 1,
                *np.random.default_rng(0).integers(0, len(original), 10).tolist(),
            }
        )
        for place in places:
            for flip in (0x01, 0x80):
                changed = bytearray(original)
                changed[place] ^= flip
                replace(run / name, bytes(changed))
                with pytest.raises(EvidenceError) as found:
                    verify(run)
                assert "record." in str(found.value), (name, place, flip)
        for changed_length in (original[:-1], original + b"\n", b""):
            replace(run / name, changed_length)
            with pytest.raises(EvidenceError, match="record"):
                verify(run)
        replace(run / name, original)
    verify(run)


def test_an_altered_byte_is_found_in_every_file_and_named(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    record = read_record(run)
    names = [
        *record.files,
        *(f"models/{one.name}/{name}" for one in record.models for name in one.files),
    ]
    draw = np.random.default_rng(1)
    before = {name: (run / name).read_bytes() for name in names}
    for name in names:
        changed = bytearray(before[name])
        changed[int(draw.integers(len(changed)))] ^= 1 << int(draw.integers(8))
        replace(run / name, bytes(changed))
    with pytest.raises(EvidenceError) as found:
        verify(run)
    assert {fault.where for fault in found.value.faults} == set(names)
    for name in names:
        replace(run / name, before[name])
    verify(run)
    (run / "metrics.json").unlink()
    with pytest.raises(EvidenceError, match=r"metrics\.json.*missing"):
        verify(run)


def altered(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the record and everything that depends on it, as somebody without the key could."""
    plain = json.loads((run / "record.json").read_text())
    change(plain)
    replace(run / "record.json", (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())
    replace(run / "record.sha256", read_record(run).sums().encode())


def test_a_consistent_forgery_needs_the_key(finished: Path, sign_key: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    altered(run, lambda plain: plain["decision"].update(outcome="FORGOTTEN"))
    with pytest.raises(EvidenceError, match="signature does not fit"):
        verify(run)
    altered(run, lambda plain: plain.update(signer=""))
    verify(run)  # unsigned, nothing is amiss
    with pytest.raises(EvidenceError, match="not signed"):
        verify(run, key=Path(f"{sign_key}.pub"))
    forger = new_key(tmp_path / "forger.key")
    for name in OWN_FILES:
        (run / name).unlink()
    key = load_private(forger)
    record = read_record(finished)
    write_record(run, dataclasses.replace(record, signer=signer_of(key)), key=key)
    verify(run)
    with pytest.raises(EvidenceError, match="another key than the one to trust"):
        verify(run, key=Path(f"{sign_key}.pub"))


def test_a_name_outside_the_directory_is_never_opened(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    altered(
        run, lambda plain: (plain.update(signer=""), plain["files"].update({"../secret": "0" * 64}))
    )
    with pytest.raises(EvidenceError, match="outside its directory"):
        verify(run)


def test_wrong_proofs_are_found_even_where_their_digest_fits(
    finished: Path, tmp_path: Path
) -> None:
    run = copy(finished, tmp_path)
    proofs = json.loads((run / "absence.json").read_text())
    first = proofs["proofs"][0]
    first["before"]["leaf"] = "0" * 64
    content = (json.dumps(proofs, sort_keys=True, separators=(",", ":")) + "\n").encode()
    replace(run / "absence.json", content)
    altered(
        run,
        lambda plain: (
            plain.update(signer=""),
            plain["files"].update({"absence.json": hashlib.sha256(content).hexdigest()}),
        ),
    )
    with pytest.raises(EvidenceError, match=r"absence\.json: proof 1 does not hold"):
        verify(run)


def test_a_proof_that_stands_twice_does_not_hide_a_missing_one(
    finished: Path, tmp_path: Path
) -> None:
    run = copy(finished, tmp_path)
    proofs = json.loads((run / "absence.json").read_text())
    first, second = (
        at
        for at, proof in enumerate(proofs["proofs"][:50])
        if proof["absent"] is not None and at in (0, 1)
    )
    proofs["proofs"][second] = proofs["proofs"][first]
    content = (json.dumps(proofs, sort_keys=True, separators=(",", ":")) + "\n").encode()
    replace(run / "absence.json", content)
    altered(
        run,
        lambda plain: (
            plain.update(signer=""),
            plain["files"].update({"absence.json": hashlib.sha256(content).hexdigest()}),
        ),
    )
    with pytest.raises(EvidenceError, match=r"absence\.json: the number of proofs"):
        verify(run)


def test_nobody_else_comes_or_goes_between_the_trees() -> None:
    a, b, c = (digit * 64 for digit in "abc")
    before, after = MerkleTree.of([a, b, c]), MerkleTree.of([a])
    was, gone = before.prove(c), after.prove(c)
    assert isinstance(was, Inclusion)
    assert isinstance(gone, Absence)
    proofs = Proofs("forgetmi absence 1", (Proof("image", was, gone, None),))
    data = TrainingData(
        "",
        before.root,
        after.root,
        len(before),
        len(after),
        absent=1,
        shared=0,
        proofs="absence.json",
    )
    assert ["3 leaves before, 1 after" in str(fault) for fault in proof_faults(data, proofs)] == [
        True
    ]
    whole = MerkleTree.of([a, b])
    gone = whole.prove(c)
    assert isinstance(gone, Absence)
    assert not proof_faults(
        dataclasses.replace(data, after=whole.root, leaves_after=2),
        Proofs("forgetmi absence 1", (Proof("image", was, gone, None),)),
    )


def test_a_chain_holds_until_a_link_is_altered(
    finished: Path, sign_key: Path, tmp_path: Path
) -> None:
    second, third = copy(finished, tmp_path / "two"), copy(finished, tmp_path / "three")
    cohort, partition = load_data(TINY)
    for run, previous in ((second, finished), (third, second)):
        evaluation = Evaluation.from_json((run / "metrics.json").read_text())
        said = keep_record(
            Run(RunDirectory(run), cohort, partition, evaluation),
            TINY,
            Recording(sign_key, previous),
        )
        assert "signed by" in said
    assert [read_record(run).number for run in (finished, second, third)] == [1, 2, 3]
    replace(third / "report.html", b"another")
    evaluation = Evaluation.from_json((third / "metrics.json").read_text())
    keep_record(Run(RunDirectory(third), cohort, partition, evaluation), TINY, Recording(sign_key))
    assert read_record(third).number == 3  # written again, it keeps its place
    checked = verify(third, previous=[finished, second])
    assert "the chain holds over 3 records" in checked.done
    assert any("--previous" in line for line in verify(third).open)
    with pytest.raises(EvidenceError, match="not part of this chain"):
        verify(third, previous=[finished])
    altered(second, lambda plain: plain.update(reason="another", signer=""))
    with pytest.raises(EvidenceError, match="not part of this chain"):
        verify(third, previous=[finished, second])


def test_the_same_run_keeps_its_record_and_a_signed_one_is_never_lost(
    finished: Path, tmp_path: Path
) -> None:
    run = copy(finished, tmp_path)
    before = (run / "record.json").read_bytes()
    cohort, partition = load_data(TINY)
    done = Run(
        RunDirectory(run),
        cohort,
        partition,
        Evaluation.from_json((run / "metrics.json").read_text()),
    )
    keep_record(done, TINY, Recording())
    assert (run / "record.json").read_bytes() == before
    replace(run / "report.html", b"another")
    assert "is signed and is kept" in keep_record(done, TINY, Recording())
    assert (run / "record.json").read_bytes() == before
    with pytest.raises(EvidenceError, match=r"report\.html.*altered"):
        verify(run)


def test_a_killed_signing_is_mended(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    write_record(run, dataclasses.replace(read_record(run), signer=""))
    before = (run / "record.json").read_bytes()
    (run / "record.sig").write_bytes(b"of a record that was never written")
    replace(run / "record.sha256", b"of a record that was never written")
    with pytest.raises(EvidenceError, match="was altered"):
        verify(run)
    cohort, partition = load_data(TINY)
    metrics = Evaluation.from_json((run / "metrics.json").read_text())
    keep_record(Run(RunDirectory(run), cohort, partition, metrics), TINY, Recording())
    assert verify(run).record.to_bytes() == before
    assert not (run / "record.sig").exists()


def test_another_key_signs_only_what_is_new(finished: Path, sign_key: Path, tmp_path: Path) -> None:
    run, other = copy(finished, tmp_path), new_key(tmp_path / "other.key")
    before = (run / "record.json").read_bytes()
    cohort, partition = load_data(TINY)
    done = Run(
        RunDirectory(run),
        cohort,
        partition,
        Evaluation.from_json((run / "metrics.json").read_text()),
    )
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
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, before = copy(finished, tmp_path), (finished / "report.html").read_bytes()
    assert main(["audit", str(run)]) == 2
    assert "signed" in (said := capsys.readouterr().err)
    assert "--out DIR" in said
    assert main(["audit", str(run), "--out", str(finished)]) == 2
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


def test_files_that_no_record_names_are_told(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    for name in (
        ".lock",
        "state/unlearned.pt",
        "tracking/events",
        "models/original.log",
        "models/.x.state.pt",
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("written by the product")
    before = verify(run).open
    assert before == verify(finished).open
    for name in (
        "note.txt",
        "signals/second.npz",
        "models/original/adapter.bin",
        "models/later/model.json",
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("from elsewhere")
    told = [line for line in verify(run).open if line not in before]
    assert told == [
        "4 files in the run's folder that the record does not name: note.txt, signals/second.npz, "
        "models/later/model.json, models/original/adapter.bin"
    ]


def test_altered_weights_are_not_sealed_anew(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    weights = bytearray((run / "models" / "unlearned" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    replace(run / "models" / "unlearned" / "model.safetensors", bytes(weights))
    before = (run / "record.json").read_bytes()
    cohort, partition = load_data(TINY)
    done = Run(
        RunDirectory(run),
        cohort,
        partition,
        Evaluation.from_json((run / "metrics.json").read_text()),
    )
    with pytest.raises(CheckpointError, match="altered"):
        keep_record(done, TINY, Recording())
    assert (run / "record.json").read_bytes() == before
    shutil.rmtree(run / "models" / "unlearned")
    shutil.copytree(run / "models" / "original", run / "models" / "unlearned")
    with pytest.raises(EvidenceError, match="not those that were measured"):
        keep_record(done, TINY, Recording())


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_damaged_metrics_are_one_clear_error(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"metrics\.json: the measurement cannot be read"):
        Evaluation.from_json(text)


def test_metrics_follow_from_the_signals(finished: Path, tmp_path: Path) -> None:
    numbers, largest = recompute.metrics(finished, read_record(finished))
    assert numbers > 50
    assert largest <= recompute.CLOSE
    run = copy(finished, tmp_path)
    text = (run / "metrics.json").read_text()
    stored = json.loads(text)
    score = next(
        one for one in stored["scores"]["unlearned"] if one["name"] == "auc" and one["on"] == "test"
    )
    score["value"] += 0.01
    replace(run / "metrics.json", json.dumps(stored).encode())
    with pytest.raises(EvidenceError, match=r"unlearned auc .*test is another number"):
        recompute.metrics(run, read_record(run))


def test_the_verdict_follows_from_the_signals(finished: Path, tmp_path: Path) -> None:
    record = read_record(finished)
    assert record.decision.rule_digest == record.files["rule.json"]
    assert any(
        one.channel == "image" and one.value is not None and not one.on for one in record.findings
    )
    assert recompute.verdict(finished, record) == record.decision.outcome
    run = copy(finished, tmp_path)
    audit = json.loads((run / "audit.json").read_text())
    audit["verdict"]["outcome"] = (
        "FORGOTTEN" if record.decision.outcome != "FORGOTTEN" else "NOT FORGOTTEN"
    )
    replace(run / "audit.json", json.dumps(audit).encode())
    with pytest.raises(EvidenceError, match="another when decided again"):
        recompute.verdict(run, record)


def test_the_record_itself_must_say_what_its_files_say(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    altered(run, lambda plain: (plain.update(signer=""), plain["findings"][0].update(value=0.001)))
    verify(run)  # unsigned and consistent
    with pytest.raises(EvidenceError, match="findings are not those"):
        recompute.metrics(run, read_record(run))
    altered(
        run, lambda plain: plain["decision"]["channels"].update(image="FORGOTTEN", text="FORGOTTEN")
    )
    with pytest.raises(EvidenceError, match="decision is not that"):
        recompute.verdict(run, read_record(run))


def test_who_stands_out_singly_follows_from_the_signals(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    patient = read_record(finished).subjects.patients[0]
    altered(
        run,
        lambda plain: (
            plain.update(signer=""),
            plain["decision"]["flagged"].update({patient: "remembered"}),
        ),
    )
    with pytest.raises(EvidenceError, match="decision is not that"):
        recompute.verdict(run, read_record(run))
    whole = json.loads((run / "audit.json").read_text())
    for flag in ("remembered", "over_forgotten", "near_duplicate"):
        patients = [{**one, flag: not one[flag]} for one in whole["patients"]]
        replace(run / "audit.json", json.dumps({**whole, "patients": patients}).encode())
        with pytest.raises(EvidenceError, match="stand out singly"):
            recompute.verdict(run, read_record(run))


def test_the_audit_must_be_by_the_declared_rule(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    audit = json.loads((run / "audit.json").read_text())
    audit["declared"]["utility_margin"] = 0.4
    replace(run / "audit.json", json.dumps(audit).encode())
    altered(
        run,
        lambda plain: (
            plain.update(signer=""),
            plain["decision"]["rule"].update(utility_margin=0.4),
        ),
    )
    with pytest.raises(EvidenceError, match="another rule than the declared one"):
        recompute.verdict(run, read_record(run))


def test_a_record_of_before_single_patients_were_kept_still_holds(
    finished: Path, tmp_path: Path
) -> None:
    run = copy(finished, tmp_path)
    altered(
        run,
        lambda plain: (
            plain.update(signer=""),
            plain["decision"].pop("flagged"),
            plain["subjects"].pop("earlier"),
        ),
    )
    record = verify(run).record
    assert (record.decision.flagged, record.subjects.earlier) == (None, None)
    assert record.digest == hashlib.sha256((run / "record.json").read_bytes()).hexdigest()
    assert recompute.verdict(run, record) == record.decision.outcome


def test_a_further_request_is_judged_again_from_the_signals(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    directory, (cohort, partition) = RunDirectory(run), load_data(TINY)
    gone = partition.forget[
        partition.patient[partition.forget] == partition.patient[partition.forget[0]]
    ]
    further = dataclasses.replace(partition, earlier=gone)
    directory.partition.unlink()
    write_partition(directory.partition, further)
    found, _ = run_audit(
        directory,
        [read_draw(directory, cohort, further, seed=TINY.seed)],
        cohort=cohort,
        declared=TINY.audit,
        seed=TINY.seed,
    )
    signals = {path.stem: Signals.load(path) for path in (run / "signals").glob("*.npz")}
    replace(
        directory.metrics,
        evaluate(signals, further, ordinal=cohort.ordinal, seed=TINY.seed, resamples=TINY.resamples)
        .to_json()
        .encode(),
    )
    record = record_of(directory, spec=TINY, cohort=cohort, partition=further)
    assert found.draws[0].earlier == 1
    assert {*record.subjects.patients} == {*cohort.patient[partition.forget]} - {
        *cohort.patient[gone]
    }
    assert {*(record.subjects.earlier or ())} == {*cohort.patient[gone], *cohort.study[gone]}
    assert recompute.metrics(run, record)[0] > 50
    assert recompute.verdict(run, record) == record.decision.outcome
    directory.partition.unlink()
    write_partition(directory.partition, partition)
    with pytest.raises(EvidenceError, match="another when decided again"):
        recompute.verdict(run, record)


@pytest.mark.slow
def test_two_withdrawals_from_one_model(finished: Path, sign_key: Path, tmp_path: Path) -> None:
    cohort, partition = load_data(TINY)
    new = str(cohort.patient[partition.retain[0]])
    (tmp_path / "list.csv").write_text(f"patient_digest\n{new}\n")
    spec = dataclasses.replace(
        TINY,
        given=GivenModels(original=finished / "models" / "unlearned"),
        partition=PartitionSpec(
            forget_list=tmp_path / "list.csv", after=finished / "partition.json"
        ),
    )
    done = finish(
        spec, tmp_path / "second", command=["forgetmi", "run"], how=Recording(sign_key, finished)
    )
    first, second = read_record(finished), read_record(tmp_path / "second")
    assert second.subjects.patients == (new,)
    assert {*first.subjects.patients, *first.subjects.studies} == {*(second.subjects.earlier or ())}
    assert second.model("before").weights == first.model("after").weights
    assert np.array_equal(done.partition.holdout, partition.holdout)
    assert (
        second.data.before == first.data.before
    )  # the cohort holds everybody still; both are about its training side
    assert second.data.leaves_after < first.data.leaves_after
    assert "the chain holds over 2 records" in verify(tmp_path / "second", previous=[finished]).done
    ledger = Ledger(tmp_path / "ledger.sqlite", key_id=cohort.key_id)
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


def test_standard_tools_agree(finished: Path) -> None:
    sums = subprocess.run(
        ["sha256sum", "-c", "record.sha256"],
        cwd=finished,
        capture_output=True,
        text=True,
        check=False,
    )
    assert sums.returncode == 0, sums.stdout
    signature = subprocess.run(
        [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "record.pub.pem",
            "-rawin",
            "-in",
            "record.json",
            "-sigfile",
            "record.sig",
        ],
        cwd=finished,
        capture_output=True,
        text=True,
        check=False,
    )
    assert signature.returncode == 0, signature.stderr
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", "record.pub.pem", "-outform", "DER"],
        cwd=finished,
        capture_output=True,
        check=True,
    ).stdout
    assert hashlib.sha256(der).hexdigest() == read_record(finished).signer


def test_the_command_line(
    finished: Path, sign_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(finished), "--key", f"{sign_key}.pub"]) == 0
    out = capsys.readouterr().out
    assert "holds: " in out
    assert "not checked: " in out
    run = copy(finished, tmp_path)
    replace(run / "partition.json", (run / "partition.json").read_bytes() + b" ")
    for words in (
        [str(run)],
        [str(tmp_path / "nowhere")],
        [str(finished), "--key", str(sign_key)],
        [str(run / "spec.yaml")],
    ):
        assert main(["verify", *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert "Traceback" not in error
    assert main(["record", str(tmp_path)]) == 2
    assert "not a run directory" in capsys.readouterr().err


def test_no_raw_identifier_is_recorded(finished: Path) -> None:
    folder = Path(str(load_data(TINY)[0].image[0]).split("#")[0]).parent
    lines = (folder / "cohort.csv").read_text().splitlines()
    place = lines[0].split(",").index("patient_id")
    raw = {line.split(",")[place] for line in lines[1:]} - {""}
    text = (finished / "record.json").read_text() + (finished / "absence.json").read_text()
    assert not [one for one in raw if len(one) > 4 and one in text]
    assert set(digests(finished)) == set(read_record(finished).files)
