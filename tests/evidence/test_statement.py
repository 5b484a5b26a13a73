"""The in-toto statement beside a signed record: the published encoding, and every change is refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forgetmi.core.errors import EvidenceError
from forgetmi.evidence.dsse import pre_authentication, seal, unseal
from forgetmi.evidence.record import canonical
from forgetmi.evidence.record_files import read_record, sha256_of
from forgetmi.evidence.signing import load_private
from forgetmi.evidence.statement import (
    PAYLOAD_TYPE,
    STATEMENT,
    check_statement,
    sealed_statement,
    statement_of,
)
from forgetmi.evidence.verify import verify
from tests.evidence.copied_runs import Data, copy, replace


def test_the_encoding_is_the_published_one() -> None:
    """The example of the DSSE specification, protocol.md, section "Test Vectors"."""
    encoded = pre_authentication("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_lengths_are_of_bytes_and_nothing_passes_for_something_else() -> None:
    assert pre_authentication("\u00e9", b"") == b"DSSEv1 2 \xc3\xa9 0 "
    assert pre_authentication("a", b"b 1 c") != pre_authentication("a 5 b", b"c")


def test_a_statement_names_every_file_of_every_model(signed_run: Path) -> None:
    envelope = json.loads((signed_run / STATEMENT).read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    files = [path for path in (signed_run / "models").rglob("*") if path.is_file()]
    assert subjects == {path.relative_to(signed_run).as_posix(): sha256_of(path) for path in files}
    record = statement["predicate"]["record"]
    assert record["digest"]["sha256"] == sha256_of(signed_run / "record.json")
    assert statement["predicate"]["decision"]["outcome"] == read_record(signed_run).decision.outcome


def test_a_statement_names_nobody(signed_run: Path, tiny_data: Data) -> None:
    cohort, partition = tiny_data
    text = json.dumps(statement_of(read_record(signed_run)))
    digests = {*cohort.patient[partition.forget], *cohort.study[partition.forget]}
    assert not [digest for digest in digests if digest in text]
    assert json.loads(text)["predicate"]["forgotten"]["patients"] == len(
        set(cohort.patient[partition.forget])
    )


def test_verify_says_that_it_checked_the_statement(signed_run: Path, tmp_path: Path) -> None:
    assert any("in-toto statement" in line for line in verify(signed_run).done)

    # Records that were signed before there were statements hold without one
    run = copy(signed_run, tmp_path)
    (run / STATEMENT).unlink()
    assert not any("in-toto statement" in line for line in verify(run).done)


def _payload(changed: str) -> bytes:
    return json.dumps({"_type": changed}).encode()


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("another payload", "not signed by the record's key"),
        ("another key", "not signed by the record's key"),
        ("another type", "something else than an in-toto statement"),
        ("a type that was not signed", "not signed by the record's key"),
        ("another record", "not of this record"),
        ("another layout", "the envelope was altered"),
        ("a countersignature", "the envelope was altered"),
        ("no signature", "no DSSE envelope"),
        ("no JSON", "the envelope cannot be read"),
    ],
)
def test_a_changed_statement_is_refused(
    case: str, why: str, signed_run: Path, sign_key: Path, tmp_path: Path
) -> None:
    run, key = copy(signed_run, tmp_path), load_private(sign_key)
    record = read_record(run)
    payload = canonical(statement_of(record))
    envelope = json.loads((run / STATEMENT).read_text())
    other = Ed25519PrivateKey.generate()
    content = {
        "another payload": {**envelope, "payload": base64.b64encode(_payload("x")).decode()},
        "a type that was not signed": json.loads(seal(payload, "text/plain", key))
        | {"payloadType": PAYLOAD_TYPE},
        "a countersignature": {**envelope, "signatures": envelope["signatures"] * 2},
        "no signature": {**envelope, "signatures": []},
    }
    text = {
        "another key": sealed_statement(record, other),
        "another type": seal(payload, "text/plain", key),
        "another record": seal(_payload("x"), PAYLOAD_TYPE, key),
        "another layout": json.dumps(envelope, indent=1).encode(),
        "no JSON": b"{",
    }
    replace(run / STATEMENT, text.get(case) or json.dumps(content[case]).encode())
    with pytest.raises(EvidenceError, match=why):
        verify(run)


def test_any_signature_of_the_key_will_do(signed_run: Path, sign_key: Path) -> None:
    """DSSE: unknown fields are passed over, and names of keys are hints."""
    key = load_private(sign_key)
    envelope = json.loads((signed_run / STATEMENT).read_text())
    first = {**envelope["signatures"][0], "sig": base64.b64encode(b"0" * 64).decode()}
    own = {"sig": envelope["signatures"][0]["sig"], "note": "unknown"}
    more = json.dumps({**envelope, "signatures": [first, own], "extra": 1}).encode()
    assert unseal(more, where="x").signed_by(key.public_key())
    assert not unseal(more, where="x").signed_by(Ed25519PrivateKey.generate().public_key())
    assert check_statement(signed_run, read_record(signed_run), key.public_key())
