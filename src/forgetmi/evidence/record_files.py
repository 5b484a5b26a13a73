"""A record's files, and which files of a run it names.

Beside each other lie record.json (canonical JSON, so that its SHA-256 is the record's digest), record.sha256 (that
digest and those of all files it names, for ``sha256sum -c``) and, where a key was given, record.sig and record.pub.pem.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.core.files import full_disk_explained, write_bytes
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.record import FORMAT, RECORD, Record
from forgetmi.evidence.signing import fingerprint, public_pem

SUMS, SIGNATURE, PUBLIC = "record.sha256", "record.sig", "record.pub.pem"
OWN_FILES = (RECORD, SUMS, SIGNATURE, PUBLIC)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_files(root: Path) -> list[str]:
    """Names of the files of a run that a record names, sorted.

    Left out are the models (a record names their files apart), what is written after it (progress, a tracker's files,
    locks and other hidden files), and the record's own files.
    """
    names = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    return [
        name.as_posix()
        for name in names
        if name.parts[0] not in ("models", "state", "tracking", *OWN_FILES)
        and not any(part.startswith(".") for part in name.parts)
    ]


def write_record(folder: Path, record: Record, *, key: Ed25519PrivateKey | None = None) -> None:
    """Write a record and what belongs to it; each file whole or not at all, record.json last.

    Args:
        folder: The run's directory.
        record: Its `signer` is the key's fingerprint.
        key: Signs it.
    """
    with full_disk_explained(folder.name):
        content = record.to_bytes()
        if key is not None:
            write_bytes(folder / PUBLIC, public_pem(key.public_key()))
            write_bytes(folder / SIGNATURE, key.sign(content))
        else:
            for name in (SIGNATURE, PUBLIC):
                (folder / name).unlink(missing_ok=True)
        write_bytes(folder / SUMS, record.sums().encode())
        write_bytes(folder / RECORD, content)


def signer_of(key: Ed25519PrivateKey | None) -> str:
    """What `Record.signer` is under a key."""
    return "" if key is None else fingerprint(key.public_key())


def read_record(path: Path) -> Record:
    """Read a record strictly; what it says is not checked here (`forgetmi.evidence.verify`).

    Args:
        path: record.json, or the directory it lies in.

    Raises:
        EvidenceError: It is absent, not in canonical form, or a field is missing, unknown or of another type.
    """
    path = path / RECORD if path.is_dir() else path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EvidenceError(
            Fault(
                "the record cannot be read",
                where=path.name,
                why=error.strerror or "",
                do="Give a record.json, or the directory of a finished run.",
            )
        ) from None
    try:
        plain = json.loads(content.decode("ascii"), parse_constant=_refused)
        record = from_plain(Record, plain, where=path.name, complete=True)
        if record.to_bytes() != content:
            raise ValueError("it is not in canonical form")
    except SpecError as error:
        raise EvidenceError(error.faults) from None
    except (
        ValueError
    ) as error:  # JSON and Unicode errors are value errors, too; their texts may quote the file
        why = (
            "it is no JSON in ASCII"
            if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError))
            else str(error)
        )
        raise EvidenceError(
            Fault("the record was altered", where=path.name, why=why, do="Use the original file.")
        ) from None
    if record.format != FORMAT:
        raise EvidenceError(
            Fault(
                "the record is of another form", where=path.name, why=f"this version reads {FORMAT}"
            )
        )
    return record


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}")
