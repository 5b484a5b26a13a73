"""When a run's record is written, written again, signed or replaced, and when it is left as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.record_writing import keep_replaced, signer_of, write_record
from forgetmi.evidence.signing import load_private
from forgetmi.evidence.verify import record_faults
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import Run
from forgetmi.run.record import record_of
from forgetmi.run.record_findings import decision_in, findings_in
from forgetmi.run.spec import RunSpec

# Faults of a run's files that a message names
_SHOWN = 5


@dataclass(frozen=True)
class Recording:
    """How a run's record is made.

    Args:
        sign_key: PEM file of an Ed25519 private key to sign the record with.
        previous: The record (or run directory) before it in the chain.
        replace: Whether a signed record of the same run may be replaced; it is kept as the new one's predecessor.
    """

    sign_key: Path | None = None
    previous: Path | None = None
    replace: bool = False


def check(recording: Recording) -> None:
    """Find out before hours of work whether the key and the record before can be used.

    Raises:
        SpecError: A signed record is to be replaced by one that is not signed, or by one with another predecessor.
        EvidenceError: The key or the record before cannot be used.
    """
    faults = []
    if recording.replace and recording.sign_key is None:
        faults.append(
            Fault(
                "a record is to be replaced without a key",
                where="--replace",
                why="a signed record is replaced by a signed one only",
                do="Give --sign-key, too.",
            )
        )
    if recording.replace and recording.previous is not None:
        faults.append(
            Fault(
                "a record is to be replaced and to follow another one",
                where="--replace",
                why="it follows the one that it replaces",
                do="Leave out --previous.",
            )
        )
    if faults:
        raise SpecError(faults)

    if recording.sign_key is not None:
        load_private(recording.sign_key)
    if recording.previous is not None:
        read_record(recording.previous)


def keep_record(done: Run, spec: RunSpec, recording: Recording) -> str:
    """Write a finished run's record, unless the stored one holds; returns the line to print.

    A record that holds is left as it is, to the byte; not signed yet, it is signed as it is. One that does not hold and
    is not signed is made again from the run's files. A signed record is replaced on request alone.

    Raises:
        EvidenceError: A signed record does not hold, has another place in the chain or another signer, and was not to
            be replaced.
    """
    kept = keep_stored(done.directory, recording)
    if kept:
        return kept

    # In place of a signed record, or of none that matters
    old = stored_record(done.directory.root)
    if old is not None and old.signer:
        return _replaced(done, spec, recording, old)
    return _made(done, spec, recording, old)


def keep_stored(directory: RunDirectory, recording: Recording) -> str:
    """Keep the record that a run has, signed or moved in its chain where that is asked for; no cohort is read.

    Args:
        directory: The run.
        recording: What is asked for.

    Returns:
        The line to print; empty = there is no record that will do, so one must be made from the run's files.

    Raises:
        EvidenceError: See `keep_record`.
    """
    root = directory.root
    key = None if recording.sign_key is None else load_private(recording.sign_key)
    signer = signer_of(key)
    old = stored_record(root)
    if old is None:
        return ""

    # Nothing is asked for but what is there
    faults = record_faults(root, old)
    wanted = _in_its_place(old, recording)
    if not faults and wanted == old and signer in ("", old.signer):
        return _line(root, old)

    # A signed one stays, unless somebody asks for another
    if old.signer and not recording.replace:
        raise _signed_already(old, root, faults, signer, moved=wanted != old)

    # It holds and says what the run's files say: only place and signature are new
    if old.signer or faults or not _says_what_is_stored(old, directory):
        return ""
    record = replace(wanted, signer=signer)
    write_record(root, record, key=key)
    return _line(root, record)


def stored_record(root: Path) -> Record | None:
    """The record in a run's directory; None = none yet."""
    if not (root / RECORD).exists():
        return None
    return read_record(root)


def summary(record: Record) -> str:
    """A record in one line: its number, its verdict, its signer."""
    signed = "not signed"
    if record.signer:
        signed = f"signed by key {record.signer[:16]}"
    return f"number {record.number}, verdict {record.decision.outcome}, {signed}"


def _line(root: Path, record: Record) -> str:
    return f"Record: {root / RECORD} ({summary(record)})"


def _in_its_place(old: Record, recording: Recording) -> Record:
    """The stored record with the place in the chain that is asked for."""
    if recording.previous is None:
        return old
    before = read_record(recording.previous)
    return replace(old, number=before.number + 1, previous=before.digest)


def _says_what_is_stored(record: Record, directory: RunDirectory) -> bool:
    """Whether a record's findings and decision are those of the run's files: an unsigned one anybody could change."""
    return record.findings == findings_in(directory) and record.decision == decision_in(directory)


def _made(done: Run, spec: RunSpec, recording: Recording, old: Record | None = None) -> str:
    """Make a record from the run's files and write it; in place of an unsigned one, it keeps its place in the chain."""
    root = done.directory.root
    key = None if recording.sign_key is None else load_private(recording.sign_key)
    record = record_of(
        done.directory,
        spec=spec,
        cohort=done.cohort,
        partition=done.partition,
        previous=recording.previous,
        signer=signer_of(key),
    )
    if old is not None and recording.previous is None:
        record = replace(record, number=old.number, previous=old.previous)
    write_record(root, record, key=key)
    return _line(root, record)


def _replaced(done: Run, spec: RunSpec, recording: Recording, old: Record) -> str:
    """Make and sign a record in place of a signed one, which is kept as the one before it."""
    root = done.directory.root
    key = load_private(recording.sign_key) if recording.sign_key is not None else None
    if key is None or recording.previous is not None:
        check(recording)

    # Kept first: the new record names the old one's files
    changed = [fault.where or fault.what for fault in record_faults(root, old)]
    kept = keep_replaced(root, old)
    record = record_of(
        done.directory,
        spec=spec,
        cohort=done.cohort,
        partition=done.partition,
        previous=kept,
        signer=signer_of(key),
    )
    record = replace(record, replaces=kept.relative_to(root).as_posix())
    write_record(root, record, key=key)

    # Whoever signs must see what is signed now and was not before
    lines = [_line(root, record), f"Replaced: record {old.number}, kept in {kept}"]
    lines += [f"Not as record {old.number} said: {name}" for name in changed]
    return "\n".join(lines)


def _signed_already(
    old: Record, root: Path, faults: list[Fault], signer: str, *, moved: bool
) -> EvidenceError:
    """The error for a signed record that would have to change: why it would."""
    names = [fault.where or fault.what for fault in faults]
    if faults:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        why = f"these are not as it says: {', '.join(names[:_SHOWN])}{more}"
        do = "Restore them"
    elif moved:
        why = "it follows another record than the one that is given"
        do = "Leave out --previous"
    else:
        why = f"it is signed by another key: {old.signer[:16]}, yours is {signer[:16]}"
        do = "Give no key: after a change of keys a record stays valid under the old one"

    return EvidenceError(
        Fault(
            "the run's record is signed, and is kept as it is",
            where=f"{root.name}/{RECORD}",
            why=why,
            do=f"{do}, or give --replace with --sign-key: the old record is kept as the one before the new one.",
        )
    )
