"""Writes a record and what belongs to it, signed where a key is given."""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forgetmi.core.files import full_disk_explained, write_bytes
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import PUBLIC, SIGNATURE, SUMS
from forgetmi.evidence.signing import fingerprint, public_pem

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
        else:
            for name in (SIGNATURE, PUBLIC):
                (folder / name).unlink(missing_ok=True)

        write_bytes(folder / SUMS, record.sums().encode())
        write_bytes(folder / RECORD, content)

    logger.info(
        "record written: number %d, %d files, %s",
        record.number,
        len(record.files),
        "signed" if key is not None else "not signed",
    )


def signer_of(key: Ed25519PrivateKey | None) -> str:
    """What `Record.signer` is under a key."""
    return "" if key is None else fingerprint(key.public_key())
