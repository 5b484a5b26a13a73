"""Whether the records before a record form a chain that leads to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from forgetmi.core.errors import Fault
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.verify_signature import check_signature, named


@dataclass(frozen=True)
class ChainCheck:
    """What was checked of a chain and holds, what cannot be checked, and what is wrong."""

    done: tuple[str, ...]
    open: tuple[str, ...]
    faults: tuple[Fault, ...]


def check_chain(
    record: Record,
    previous: Sequence[Path],
    trusted: Ed25519PublicKey | None,
) -> ChainCheck:
    """Follow the digests back as far as records are given.

    Args:
        record: The last record of the chain.
        previous: Earlier records (record.json, or the directory of each), in any order.
        trusted: The key to trust, for records by the same signer.

    Raises:
        EvidenceError: An earlier record cannot be read, or was altered.
    """
    given = _given(record, previous, trusted)
    faults = []

    # From each record to the one whose digest it names
    current = record
    links = 0
    while current.previous in given:
        path, before = given.pop(current.previous)
        if before.number != current.number - 1:
            faults.append(
                Fault(
                    f"it is number {before.number} of its chain, and the next is {current.number}",
                    where=named(path),
                )
            )
        current = before
        links += 1

    # Records that no other record names
    for path, _ in given.values():
        faults.append(
            Fault(
                "the record is not part of this chain",
                where=named(path),
                why="no later record names its digest: one of them was altered, or one in between is missing",
                do="Give every record from there on.",
            )
        )
    if not current.previous and current.number != 1:
        faults.append(Fault(f"record {current.number} names none before it", where=RECORD))

    # How far back the chain was followed
    done = [f"the chain holds over {links + 1} records"] if links else []
    if current.previous:
        missing = f"the chain before record {current.number}: give that record with --previous"
        return ChainCheck(tuple(done), (missing,), tuple(faults))
    done.append("record 1 is the first of its chain")
    return ChainCheck(tuple(done), (), tuple(faults))


def _given(
    record: Record, previous: Sequence[Path], trusted: Ed25519PublicKey | None
) -> dict[str, tuple[Path, Record]]:
    """Digest to path and content of each earlier record, each of them checked by itself."""
    given = {}
    for path in previous:
        file = path / RECORD if path.is_dir() else path
        earlier = read_record(file)

        # Keys change: another signer's key is not known here
        key = trusted if earlier.signer == record.signer else None
        check_signature(file, earlier, key)
        given[earlier.digest] = file, earlier
    return given
