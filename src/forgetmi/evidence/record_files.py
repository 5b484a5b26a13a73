"""A record's files, and which files of a run it names.

In the run's folder lie record.json (canonical JSON, so that its SHA-256 is the record's digest), record.sha256 (that
digest and those of all files it names, for ``sha256sum -c``) and, where a key was given, record.sig, record.pub.pem and
record.intoto.jsonl (the same as an in-toto statement). Records that were replaced lie under replaced/, by number.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePath

from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.core.json_text import MOST_BYTES, parse_json
from forgetmi.core.regular_file import open_regular, read_regular
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.record import FORMAT, RECORD, Record
from forgetmi.evidence.statement import STATEMENT

SUMS, SIGNATURE, PUBLIC = "record.sha256", "record.sig", "record.pub.pem"
OWN_FILES = (RECORD, SUMS, SIGNATURE, PUBLIC, STATEMENT)
REPLACED = "replaced"
# Lies in every run that a process worked in; empty
LOCK = ".lock"
# Written after the record, or named by it in another place
NOT_NAMED = ("state", "tracking", *OWN_FILES)
# What models/ holds beside the models' own folders: training logs, by model ("original.log")
MODELS, LOG = "models", ".log"


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_files(root: Path) -> list[str]:
    """Names of the files of a run that a record names, sorted.

    Left out are the models' folders (a record names their files apart), what is written after it (progress, a
    tracker's files, locks and other hidden files), and the record's own files. Training logs of models are named: they
    depend on the patients as the models do.
    """
    # Visible files that the record does not name elsewhere
    names = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        hidden = any(part.startswith(".") for part in name.parts)
        left_out = name.parts[0] in NOT_NAMED or (
            name.parts[0] == MODELS and not model_of_log(name)
        )
        if path.is_file() and not left_out and not hidden:
            names.append(name.as_posix())
    return names


def model_of_log(name: PurePath) -> str:
    """The model whose training log a file of a run belongs to; "" = the file is no part of one.

    Examples:
        >>> model_of_log(PurePath("models/original.log/00001.npz"))
        'original'
        >>> model_of_log(PurePath("models/original/weights.safetensors"))
        ''
    """
    parts = name.parts
    if len(parts) > 1 and parts[0] == MODELS and parts[1].endswith(LOG):
        return parts[1].removesuffix(LOG)
    return ""


def read_record(path: Path) -> Record:
    """Read a record strictly; whether it holds is not checked here (see `forgetmi.evidence.verify`).

    Args:
        path: record.json, or the directory it lies in.

    Raises:
        EvidenceError: It is absent, not in canonical form, or a field is missing, unknown or of another type.
    """
    path = path / RECORD if path.is_dir() else path
    try:
        content = read_regular(path, limit=MOST_BYTES)
    except OSError as error:
        raise EvidenceError(
            Fault(
                "the record cannot be read",
                where=path.name,
                why=error.strerror or "",
                do="Give a record.json, or the directory of a finished run.",
            )
        ) from None

    record = _parsed(content, path.name)

    # A later version may mean something else by the same fields
    if record.format != FORMAT:
        raise EvidenceError(
            Fault(
                "the record has another format",
                where=path.name,
                why=f"this version reads {FORMAT}",
                do="Use the version of forgetmi that wrote it.",
            )
        )
    return record


def _parsed(content: bytes, name: str) -> Record:
    """The record in the bytes of record.json; other bytes with the same meaning are refused."""
    do = "Use the original file."
    plain = parse_json(content, where=name, what="the record", do=do, error=EvidenceError)
    try:
        record = from_plain(Record, plain, where=name, complete=True)
    except SpecError as error:
        raise EvidenceError(error.faults) from None

    # What has no canonical form was not written by forgetmi
    try:
        canonical = record.to_bytes()
    except ValueError:
        canonical = b""
    if canonical != content:
        why = "it is not in canonical form"
        raise EvidenceError(Fault("the record was altered", where=name, why=why, do=do))
    return record
