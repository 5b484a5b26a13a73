"""A record as an in-toto statement, for tools that read those: which checkpoints came of which withdrawal.

Source: in-toto Attestation Framework, Statement v1,
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.json_text import MOST_BYTES, parse_json
from forgetmi.core.regular_file import read_regular
from forgetmi.evidence.dsse import Envelope, envelope_line, seal, unseal
from forgetmi.evidence.record import RECORD, Record, canonical

STATEMENT = "record.intoto.jsonl"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

# Names of the domain .invalid never resolve (RFC 2606): it names a form, and is no page
PREDICATE_TYPE = "https://forgetmi.invalid/record/v1"


def sealed_statement(record: Record, key: Ed25519PrivateKey) -> bytes:
    """The content of record.intoto.jsonl."""
    return seal(canonical(statement_of(record)), PAYLOAD_TYPE, key)


def statement_of(record: Record) -> dict[str, Any]:
    """A record's essential facts as an in-toto statement about the files of its models.

    It names nobody: of the persons it has numbers, where the record has keyed digests.
    """
    subjects = []
    for model in record.models:
        for name, digest in sorted(model.files.items()):
            subjects.append({"name": f"models/{model.name}/{name}", "digest": {"sha256": digest}})

    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(record),
    }


def _predicate(record: Record) -> dict[str, Any]:
    """What is stated about the models."""
    request, data, method = record.request, record.data, record.method
    models = []
    for model in record.models:
        models.append(
            {
                "name": model.name,
                "role": model.role,
                "given": model.given,
                "weights": model.weights,
            }
        )

    return {
        # The record that holds everything, and its place in the chain
        "record": {"name": RECORD, "digest": {"sha256": record.digest}},
        "number": record.number,
        "previous": record.previous,
        "written": record.written,
        # What was asked, of how many, and on which data
        "request": {
            "id": request.id,
            "ground": request.ground,
            "scope": request.scope,
            "signOff": request.sign_off,
            "received": record.received,
        },
        "forgotten": {
            "patients": len(record.subjects.patients),
            "studies": len(record.subjects.studies),
            "wholePatients": record.subjects.whole_patients,
        },
        "trainingData": {
            "cohort": data.cohort,
            "before": data.before,
            "after": data.after,
            "absent": data.absent,
            "shared": data.shared,
        },
        # What was done, and what came out
        "models": models,
        "method": {"kind": method.kind, "exact": method.exact, "spec": method.spec},
        "code": {"package": record.environment.package, "digest": record.environment.code},
        "decision": {
            "outcome": record.decision.outcome,
            "rule": record.decision.rule_digest,
            "channels": dict(record.decision.channels),
        },
    }


def check_statement(folder: Path, record: Record, key: Ed25519PublicKey) -> bool:
    """Check the statement beside a signed record, where there is one.

    Args:
        folder: Where the record lies.
        record: The record.
        key: Its signer's.

    Returns:
        Whether there is one. Records that were signed before statements were made have none.

    Raises:
        EvidenceError: It is no envelope, is of another type, not signed by this key, or says other than the record.
    """
    if not (folder / STATEMENT).exists():
        return False

    # The envelope, its type and its signature
    content = _content(folder / STATEMENT)
    envelope = unseal(content, where=STATEMENT)
    if envelope.kind != PAYLOAD_TYPE:
        raise _refused("the envelope holds something else than an in-toto statement")
    if not envelope.signed_by(key):
        why = "the statement or its signature was altered, or another key made it"
        raise _refused("the statement is not signed by the record's key", why=why)

    # No byte may differ from what was written, not even one that means nothing
    as_written = Envelope(
        envelope.payload, PAYLOAD_TYPE, ((record.signer, envelope.signatures[0][1]),)
    )
    if content != envelope_line(as_written):
        raise _refused("the envelope was altered", why="it is not as forgetmi writes it")

    # What it says is what the record says
    do = "Use the original file."
    what = "the statement"
    stated = parse_json(envelope.payload, where=STATEMENT, what=what, do=do, error=EvidenceError)
    if stated != statement_of(record):
        raise _refused("the statement is not of this record")
    return True


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, limit=MOST_BYTES)
    except OSError as error:
        raise _refused("the statement cannot be read", why=error.strerror or "") from None


def _refused(what: str, *, why: str = "") -> EvidenceError:
    do = "Use the original file; the record holds without it."
    return EvidenceError(Fault(what, where=STATEMENT, why=why, do=do))
