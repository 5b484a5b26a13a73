"""A record holds as it was written; any altered byte of it, or of a file it names, is found and named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from forgetmi.cli import main
from forgetmi.core.errors import EvidenceError
from forgetmi.evidence.manifest import Proof, Proofs, proof_faults
from forgetmi.evidence.merkle import Absence, Inclusion, MerkleTree
from forgetmi.evidence.record import TrainingData
from forgetmi.evidence.record_files import OWN_FILES, read_record
from forgetmi.evidence.record_writing import signer_of, write_record
from forgetmi.evidence.signing import load_private
from forgetmi.evidence.verify import verify
from forgetmi.run import recompute_verdict
from tests.evidence.copied_runs import altered, copy, replace
from tests.runs import new_key


def test_a_record_holds_and_says_what_it_cannot(signed_run: Path, sign_key: Path) -> None:
    checked = verify(signed_run, key=Path(f"{sign_key}.pub"))
    assert any("is the one to trust" in line for line in checked.done)
    assert any("first of its chain" in line for line in checked.done)
    assert any("proven absent" in line for line in checked.done)
    without = verify(signed_run / "record.json")
    assert any("whose key it is" in line for line in without.open)


@pytest.mark.parametrize("drawn", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_an_altered_byte_is_found_in_the_record_and_its_own_files(
    drawn: int, signed_run: Path, tmp_path: Path
) -> None:
    run = copy(signed_run, tmp_path)
    for name in OWN_FILES:
        original = (run / name).read_bytes()
        places = sorted(
            {
                0,
                len(original) - 1,
                *np.random.default_rng(0).integers(0, len(original), drawn).tolist(),
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


def test_an_altered_byte_is_found_in_every_file_and_named(signed_run: Path, tmp_path: Path) -> None:
    run = copy(signed_run, tmp_path)
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


def test_a_consistent_forgery_needs_the_key(
    signed_run: Path, sign_key: Path, tmp_path: Path
) -> None:
    run = copy(signed_run, tmp_path)
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
    record = read_record(signed_run)
    write_record(run, dataclasses.replace(record, signer=signer_of(key)), key=key)
    verify(run)
    with pytest.raises(EvidenceError, match="another key than the one to trust"):
        verify(run, key=Path(f"{sign_key}.pub"))


def test_a_name_outside_the_directory_is_never_opened(signed_run: Path, tmp_path: Path) -> None:
    run = copy(signed_run, tmp_path)
    altered(
        run, lambda plain: (plain.update(signer=""), plain["files"].update({"../secret": "0" * 64}))
    )
    with pytest.raises(EvidenceError, match="outside its directory"):
        verify(run)


def test_wrong_proofs_are_found_even_where_their_digest_fits(
    signed_run: Path, tmp_path: Path
) -> None:
    run = copy(signed_run, tmp_path)
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
    signed_run: Path, tmp_path: Path
) -> None:
    run = copy(signed_run, tmp_path)
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


def test_a_record_of_before_single_patients_were_kept_still_holds(
    signed_run: Path, tmp_path: Path
) -> None:
    run = copy(signed_run, tmp_path)
    altered(
        run,
        lambda plain: (
            plain.update(signer=""),
            plain["decision"].pop("flagged"),
            plain["subjects"].pop("earlier"),
        ),
    )
    assert b"replaces" not in (run / "record.json").read_bytes()
    record = verify(run).record
    assert (record.decision.flagged, record.subjects.earlier) == (None, None)
    assert record.digest == hashlib.sha256((run / "record.json").read_bytes()).hexdigest()
    assert recompute_verdict.verdict(run, record) == record.decision.outcome


def test_files_that_no_record_names_are_told(signed_run: Path, tmp_path: Path) -> None:
    run = copy(signed_run, tmp_path)
    before = verify(run).open
    (run / ".lock").write_text("")
    assert verify(run).open == before
    names = (
        "note.txt",
        "signals/second.npz",
        "models/original/adapter.bin",
        "models/later/model.json",
        "models/original.log",
        "models/.x.state.pt",
        "state/unlearned.pt",
        "state/.hidden/deep",
        "tracking/events",
        "report-2/report.html",
        ".report.html.partial",
    )
    for name in names:
        (run / name).parent.mkdir(exist_ok=True, parents=True)
        (run / name).write_text("from elsewhere")
    (run / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    (run / "broken").symlink_to(tmp_path / "nowhere")
    told = [line for line in verify(run).open if line not in before]
    assert [line.partition(":")[0] for line in told] == sorted((*names, "elsewhere", "broken"))
    assert all("the record does not name" in line for line in told)


def test_a_model_that_is_gone_is_a_fault_unless_it_is_said_to_be_deleted(
    signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(signed_run, tmp_path)
    shutil.rmtree(run / "models" / "original")
    with pytest.raises(EvidenceError, match=r"models/original: .*is gone.*--deleted original"):
        verify(run)
    assert main(["verify", str(run)]) == 2
    assert "is gone" in capsys.readouterr().err
    assert main(["verify", str(run), "--deleted", "original"]) == 0
    assert "not checked: the weights of original: they were deleted" in capsys.readouterr().out
    shutil.rmtree(run / "models" / "unlearned")
    with pytest.raises(EvidenceError, match="models/unlearned"):
        verify(run, deleted=["original"])
    with pytest.raises(EvidenceError, match="no model 'orginal'"):
        verify(run, deleted=["orginal", "original", "unlearned"])


def test_standard_tools_agree(signed_run: Path) -> None:
    sums = subprocess.run(
        ["sha256sum", "-c", "record.sha256"],
        cwd=signed_run,
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
        cwd=signed_run,
        capture_output=True,
        text=True,
        check=False,
    )
    assert signature.returncode == 0, signature.stderr
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", "record.pub.pem", "-outform", "DER"],
        cwd=signed_run,
        capture_output=True,
        check=True,
    ).stdout
    assert hashlib.sha256(der).hexdigest() == read_record(signed_run).signer


def test_the_command_line(
    signed_run: Path, sign_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(signed_run), "--key", f"{sign_key}.pub"]) == 0
    out = capsys.readouterr().out
    assert "holds: " in out
    assert "not checked: " in out
    run = copy(signed_run, tmp_path)
    replace(run / "partition.json", (run / "partition.json").read_bytes() + b" ")
    for words in (
        [str(run)],
        [str(tmp_path / "nowhere")],
        [str(signed_run), "--key", str(sign_key)],
        [str(run / "spec.yaml")],
    ):
        assert main(["verify", *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert "Traceback" not in error
    assert main(["record", str(tmp_path)]) == 2
    assert "not a run directory" in capsys.readouterr().err
