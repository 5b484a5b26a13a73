"""When a run's record is written, written again, signed again or left as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.record_writing import signer_of, write_record
from forgetmi.evidence.signing import load_private
from forgetmi.run.pipeline import Run
from forgetmi.run.record import record_of
from forgetmi.run.spec import RunSpec


@dataclass(frozen=True)
class Recording:
    """How a run's record is made.

    Args:
        sign_key: PEM file of an Ed25519 private key to sign the record with.
        previous: The record (or run directory) before it in the chain.
    """

    sign_key: Path | None = None
    previous: Path | None = None


def check(recording: Recording) -> None:
    """Find out before hours of work whether the key and the record before can be used.

    Raises:
        EvidenceError: They cannot.
    """
    if recording.sign_key is not None:
        load_private(recording.sign_key)
    if recording.previous is not None:
        read_record(recording.previous)


def keep_record(done: Run, spec: RunSpec, recording: Recording) -> str:
    """Write a finished run's record, unless the stored one has the same content; returns the line to print.

    A signed record is never replaced by an unsigned one, nor by one of the same content that another key signs.

    Raises:
        EvidenceError: The same record is signed by another key already.
    """
    root = done.directory.root
    path = root / "record.json"

    # The record of the run as its files are now
    key = None if recording.sign_key is None else load_private(recording.sign_key)
    record = record_of(
        done.directory,
        spec=spec,
        cohort=done.cohort,
        partition=done.partition,
        previous=recording.previous,
        signer=signer_of(key),
    )

    # Written again, a record keeps its place in the chain
    old = stored_record(root)
    if old is not None and recording.previous is None:
        record = replace(record, number=old.number, previous=old.previous)

    # The same content: only a first signature is a reason to write it again
    if old is not None and _same_place_and_content(old, record):
        _refuse_another_key(old, record, where=f"{root.name}/record.json")
        if old.signer:
            return f"Record: {path} ({summary(old)})"
        if not record.signer:
            # An interrupted signing leaves files that do not fit the record
            write_record(root, old)
            return f"Record: {path} ({summary(old)})"

    # Other content: a signed record stays until somebody signs the new one
    if old is not None and old.signer and not record.signer:
        return (
            f"Record: {path} is signed and is kept, but the run or its place in the chain has changed since; "
            "forgetmi record RUN --sign-key KEY makes a new one."
        )

    write_record(root, record, key=key)
    return f"Record: {path} ({summary(record)})"


def stored_record(root: Path) -> Record | None:
    """The record in a run's directory; None = none yet."""
    if not (root / RECORD).exists():
        return None
    return read_record(root)


def same_but_for_signature(first: Record, second: Record) -> bool:
    """Whether two records state the same of the same files: time, place in the chain and signer may differ."""
    return first == replace(
        second,
        written=first.written,
        number=first.number,
        previous=first.previous,
        signer=first.signer,
    )


def summary(record: Record) -> str:
    """A record in one line: its number, its verdict, its signer."""
    signed = "not signed"
    if record.signer:
        signed = f"signed by key {record.signer[:16]}"
    return f"number {record.number}, verdict {record.decision.outcome}, {signed}"


def _same_place_and_content(old: Record, record: Record) -> bool:
    return same_but_for_signature(old, record) and old.previous == record.previous


def _refuse_another_key(old: Record, record: Record, *, where: str) -> None:
    """Refuse to sign the same content with a second key."""
    if not old.signer or record.signer in ("", old.signer):
        return

    raise EvidenceError(
        Fault(
            "the record is signed by another key already",
            where=where,
            why=f"it names {old.signer[:16]}, yours is {record.signer[:16]}, and it would say the same",
            do="Give that key, or none: after a change of keys a record stays valid under the old one.",
        )
    )
