"""Whether one record is as it was written: its signature, the key stored with it, and record.sha256."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.json_text import MOST_BYTES
from forgetmi.core.regular_file import read_regular
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import PUBLIC, REPLACED, SIGNATURE, SUMS
from forgetmi.evidence.signing import fingerprint, fits, load_public, public_pem
from forgetmi.evidence.statement import check_statement

RESTORE = "Use the original file."


@dataclass(frozen=True)
class SignatureCheck:
    """What was checked of a signature and holds, and what cannot be checked, in words."""

    done: tuple[str, ...]
    open: tuple[str, ...]


def check_signature(
    path: Path, record: Record, trusted: Sequence[Ed25519PublicKey]
) -> SignatureCheck:
    """Check the signature, the digest and the statement of one record.

    Args:
        path: record.json.
        record: Its content.
        trusted: The keys to trust, one of which must be the signer's; none = the key stored with the record must do.

    Raises:
        EvidenceError: A file is missing or altered, the record is not signed though a key was given, or another key
            signed it.
    """
    if not record.signer:
        return _check_unsigned(path, record, trusted)

    # The key stored with the record is the one that the record names
    root = path.parent
    signature = _stored(root, SIGNATURE)
    stored_key = load_public(root / PUBLIC)
    in_canonical_form = _stored(root, PUBLIC) == public_pem(stored_key)
    if fingerprint(stored_key) != record.signer or not in_canonical_form:
        raise EvidenceError(
            Fault(
                "the public key was altered, or is not the signer's",
                where=named(root / PUBLIC),
                why=f"the record names the key {record.signer[:16]}",
                do=RESTORE,
            )
        )

    # That key signed exactly these bytes
    if not fits(stored_key, signature, _stored(root, path.name)):
        raise EvidenceError(
            Fault(
                "the signature does not fit the record",
                where=named(path),
                why=f"{RECORD} or {SIGNATURE} was altered",
                do=RESTORE,
            )
        )

    # It is a key to trust
    fingerprints = [fingerprint(key) for key in trusted]
    if trusted and record.signer not in fingerprints:
        given = ", ".join(name[:16] for name in fingerprints)
        raise EvidenceError(
            Fault(
                "the record is signed by another key than the one to trust",
                where=named(path),
                why=f"it names {record.signer[:16]}, yours is {given}",
                do="Give the public key of whoever signed it; after a change of keys, the old one.",
            )
        )

    _check_sums(path, record, signed=True)
    stated = check_statement(root, record, stored_key)

    # Whose key it is only the caller can know
    done = [f"the signature (Ed25519, key {record.signer}) fits the record"]
    left_open = []
    if trusted:
        done[0] += ", and the key is the one to trust"
    else:
        left_open.append("whose key it is: give the signer's public key with --key")
    if stated:
        done.append("the in-toto statement is signed by the same key and says what the record says")
    return SignatureCheck(tuple(done), tuple(left_open))


def _check_unsigned(
    path: Path, record: Record, trusted: Sequence[Ed25519PublicKey]
) -> SignatureCheck:
    """Without a signature there is only the digest, which anybody can compute."""
    if trusted:
        raise EvidenceError(
            Fault(
                "the record is not signed",
                where=named(path),
                why="a key to trust was given",
                do="Ask for the signed record.",
            )
        )

    _check_sums(path, record, signed=False)
    return SignatureCheck(
        ("the record has the digest in record.sha256",),
        (
            "who made the record, and whether record.json and record.sha256 were replaced together: it is not signed",
        ),
    )


def _check_sums(path: Path, record: Record, *, signed: bool) -> None:
    """Refuse a record.sha256 that is not the record's; the first line that differs is named."""
    text = _stored(path.parent, SUMS).decode("utf-8", "replace")
    if text == record.sums():
        return

    # The first line that differs; a missing or an extra one comes after the last
    lines = text.splitlines()
    expected = record.sums().splitlines()
    line = min(len(lines), len(expected)) + 1
    for number, (stored, right) in enumerate(zip(lines, expected, strict=False), start=1):
        if stored != right:
            line = number
            break

    # Line 1 is the record's own digest: without a signature, either file may be the altered one
    problem = "it was altered"
    if not signed and line == 1:
        problem = f"its digest is not that of {RECORD}: one of the two files was altered"
    where = f"{named(path.parent / SUMS)} line {line}"
    raise EvidenceError(Fault(problem, where=where, do=RESTORE))


def _stored(root: Path, name: str) -> bytes:
    """The content of one of the record's own files."""
    try:
        return read_regular(root / name, limit=MOST_BYTES)
    except OSError as error:
        raise EvidenceError(
            Fault(
                "a file of the record cannot be read",
                where=named(root / name),
                why=error.strerror or "",
                do=f"Keep {name} in the same folder as {RECORD}.",
            )
        ) from None


def named(path: Path) -> str:
    """A file for messages, with its folder (that of the run, too, for a record that was replaced): names repeat."""
    parts = path.parts[-4:] if path.parent.parent.name == REPLACED else path.parts[-2:]
    return "/".join(part.strip("/") for part in parts if part.strip("/"))
