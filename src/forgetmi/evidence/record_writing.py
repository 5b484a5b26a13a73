"""Writes a record and what belongs to it, signed where a key is given."""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forgetmi.core.files import full_disk_explained, write_bytes
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import PUBLIC, REPLACED, SIGNATURE, SUMS, read_record
from forgetmi.evidence.signing import fingerprint, public_pem
from forgetmi.evidence.statement import STATEMENT, sealed_statement
from forgetmi.evidence.verify_signature import check_signature

logger = logging.getLogger(__name__)


def write_record(folder: Path, record: Record, *, key: Ed25519PrivateKey | None = None) -> None:
    """Write a record and what belongs to it; each file whole or not at all, record.json last.

    Args:
        folder: The run's directory.
        record: Its `signer` is the key's fingerprint.
        key: Signs it.
    """
    with full_disk_explained(folder.name):
        content = record.to_bytes()

        # The key and its signature, or neither from an earlier record
        if key is not None:
            write_bytes(folder / PUBLIC, public_pem(key.public_key()))
            write_bytes(folder / SIGNATURE, key.sign(content))
            write_bytes(folder / STATEMENT, sealed_statement(record, key))
        else:
            for name in (SIGNATURE, PUBLIC, STATEMENT):
                (folder / name).unlink(missing_ok=True)

        write_bytes(folder / SUMS, record.sums().encode())
        write_bytes(folder / RECORD, content)

    logger.info(
        "record written: number %d, %d files, %s",
        record.number,
        len(record.files),
        "signed" if key is not None else "not signed",
    )


def keep_replaced(root: Path, record: Record) -> Path:
    """Keep a signed record that another one is about to replace, under its number.

    Args:
        root: The run's directory, with the record in it.
        record: Its content.

    Returns:
        Where it is kept: the folder ``replaced/NUMBER`` of the run (with its digest, where that is taken).

    Raises:
        EvidenceError: It is not as it was signed, and no earlier attempt kept it.
    """
    kept = root / REPLACED / str(record.number)

    # Another record of that number is never written over
    if (kept / RECORD).exists() and read_record(kept).digest != record.digest:
        kept = kept.with_name(f"{record.number}-{record.digest}")

    # An interrupted attempt may have kept it, and begun to write the new one
    if (kept / RECORD).exists():
        check_signature(kept / RECORD, read_record(kept), ())
        return kept

    check_signature(root / RECORD, record, ())
    with full_disk_explained(root.name):
        kept.mkdir(parents=True, exist_ok=True)

        # The record comes last: with it, all of it is there
        for name in (PUBLIC, SIGNATURE, STATEMENT, SUMS, RECORD):
            if (root / name).exists():
                write_bytes(kept / name, (root / name).read_bytes())
    return kept


def signer_of(key: Ed25519PrivateKey | None) -> str:
    """What `Record.signer` is under a key."""
    return "" if key is None else fingerprint(key.public_key())
