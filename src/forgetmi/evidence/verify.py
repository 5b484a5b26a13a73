"""Whether a record holds: its form, its digest and signature, its chain, every file it names, and every proof."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.plain_text import Source, read_text
from forgetmi.evidence.manifest import PROOFS_BYTES, Proofs, proof_faults
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.signing import load_public
from forgetmi.evidence.verify_chain import check_chain
from forgetmi.evidence.verify_files import (
    altered_files,
    altered_models,
    missing_models,
    names_outside,
    unknown_models,
    unnamed_files,
)
from forgetmi.evidence.verify_signature import check_signature


@dataclass(frozen=True)
class Checked:
    """What a verification did.

    Args:
        record: The record.
        done: What was checked and holds, in words.
        open: What was not or cannot be checked, in words.
    """

    record: Record
    done: tuple[str, ...]
    open: tuple[str, ...]


def verify(
    path: Path,
    *,
    key: Path | Sequence[Path] | None = None,
    previous: Sequence[Path] = (),
    deleted: Collection[str] = (),
) -> Checked:
    """Check a record and everything it names.

    Args:
        path: record.json, or the run directory it lies in; its files are looked for in the same folder.
        key: Trusted public keys (PEM), one of which must be the signer's; without, a signature is only compared with
            the key stored with the record.
        previous: Records before it in the chain, in any order.
        deleted: Models whose folders were deleted on purpose, e.g. the original's.

    Raises:
        EvidenceError: Something was altered, is missing, or does not fit; every such thing is named.
    """
    path = path / RECORD if path.is_dir() else path
    root = path.parent
    record = read_record(path)
    trusted = [load_public(one) for one in _several(key)]

    # The record itself; what is wrong here makes everything below meaningless
    signature = check_signature(path, record, trusted)
    if outside := names_outside(record):
        raise EvidenceError(outside)

    # The files it names, and the proofs in one of them
    faults = unknown_models(record, deleted)
    faults += altered_files(record, root, deleted=deleted)
    faults += altered_models(record, root, deleted=deleted)
    if all(fault.where != record.data.proofs for fault in faults):
        source = Source(record.data.proofs, "the proofs", "Use the original file.", EvidenceError)
        stored = read_text(root / record.data.proofs, source, limit=PROOFS_BYTES)
        faults += proof_faults(record.data, Proofs.from_json(stored))

    # The records before it
    chain = check_chain(record, root, previous, trusted)
    faults += chain.faults
    if faults:
        raise EvidenceError(faults)

    return Checked(
        record,
        done=(*signature.done, *_done(record, root), *chain.done),
        open=(*signature.open, *_open(record, root), *chain.open),
    )


def record_faults(root: Path, record: Record) -> list[Fault]:
    """What is wrong with a run's record, its files and its models; empty = all is as it was when it was written.

    Proofs and chain are left to `verify`.
    """
    faults: list[Fault] = []
    try:
        check_signature(root / RECORD, record, ())
    except EvidenceError as error:
        faults += error.faults

    # Files outside are never opened
    if outside := names_outside(record):
        return faults + outside
    return faults + altered_files(record, root) + altered_models(record, root)


def _several(key: Path | Sequence[Path] | None) -> Sequence[Path]:
    """One, several or no keys as a sequence."""
    if key is None:
        return ()
    return (key,) if isinstance(key, Path) else key


def _done(record: Record, root: Path) -> list[str]:
    """What was checked of the files and holds."""
    lines = [f"{len(record.files)} files have the digests in the record"]

    present = len(record.models) - len(missing_models(record, root))
    if present:
        lines.append(f"the stored weights of {present} models have the digests in the record")

    data = record.data
    lines.append(
        f"{data.absent} forgotten images and reports are proven absent from the training data's tree "
        f"of {data.leaves_after} after, and were in that of {data.leaves_before} before"
    )
    return lines


def _open(record: Record, root: Path) -> list[str]:
    """What was not or cannot be checked of the files."""
    lines = []
    if missing := missing_models(record, root):
        lines.append(f"the weights of {', '.join(missing)}: they were deleted")

    for name in unnamed_files(record, root):
        lines.append(f"{name}: a file in the run's folder that the record does not name")

    if record.data.shared:
        lines.append(
            f"{record.data.shared} forgotten images or reports have exactly the content of a retained patient's, "
            "so they are still there"
        )
    return lines
