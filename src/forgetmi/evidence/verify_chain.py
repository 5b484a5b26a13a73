"""Whether the records before a record form a chain that leads to it, and who signed each of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import REPLACED, read_record
from forgetmi.evidence.signing import fingerprint
from forgetmi.evidence.verify_signature import check_signature, named


@dataclass(frozen=True)
class ChainCheck:
    """What was checked of a chain and holds, what cannot be checked, and what is wrong."""

    done: tuple[str, ...]
    open: tuple[str, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class _Link:
    """An earlier record: where it lies, what it says, and the path it was given by ("" = it was replaced here)."""

    path: Path
    record: Record
    given: str


@dataclass
class _Findings:
    """What is found while the chain is followed."""

    done: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def check_chain(
    record: Record,
    root: Path,
    previous: Sequence[Path],
    trusted: Sequence[Ed25519PublicKey],
) -> ChainCheck:
    """Follow the digests back as far as records are there: those given, and those that were replaced in their folders.

    Args:
        record: The last record of the chain.
        root: Its folder.
        previous: Earlier records (record.json, or the directory of each), in any order.
        trusted: The keys to trust. A record by another signer is compared with the key stored beside it alone.

    Raises:
        EvidenceError: An earlier record cannot be read, or was altered.
    """
    links = _links(root, previous)
    fingerprints = {fingerprint(key) for key in trusted}
    found = _Findings()

    # From each record to the one whose digest it names
    current, folder = record, root
    passed: list[_Link] = []
    while current.previous in links:
        link = links[current.previous]
        _check_link(link, current, folder, trusted, fingerprints, found)
        passed.append(link)
        current, folder = link.record, link.path.parent

    # A record that is said to lie in this folder must be there
    if current.replaces is not None and current.previous:
        found.faults.append(
            Fault(
                "the record that this one replaced is gone",
                where=f"{current.replaces}/{RECORD}",
                do="Keep the run's files together.",
            )
        )
    found.faults += _not_followed(links, passed)
    if not current.previous and current.number != 1:
        found.faults.append(Fault(f"record {current.number} names none before it", where=RECORD))

    # How far back the chain was followed
    if passed:
        found.done.insert(0, f"the chain holds over {len(passed) + 1} records")
    if current.previous:
        found.open.append(
            f"the chain before record {current.number}: give that record with --previous"
        )
    else:
        found.done.append("record 1 is the first of its chain")
    return ChainCheck(tuple(found.done), tuple(found.open), tuple(found.faults))


def _links(root: Path, previous: Sequence[Path]) -> dict[str, _Link]:
    """Digest to each earlier record: those given, and those that were replaced, here and in the folders given."""
    links = {}
    for candidate, earlier in _replaced(root):
        links[earlier.digest] = _Link(candidate, earlier, "")

    for path in previous:
        file = path / RECORD if path.is_dir() else path
        for candidate, earlier in ((file, read_record(file)), *_replaced(file.parent)):
            links[earlier.digest] = _Link(candidate, earlier, named(file))
    return links


def _replaced(root: Path) -> list[tuple[Path, Record]]:
    """The records of a run that others replaced; a file that is none is one that no record names."""
    replaced = []
    for path in sorted((root / REPLACED).glob(f"*/{RECORD}")):
        with suppress(EvidenceError):
            replaced.append((path, read_record(path)))
    return replaced


def _check_link(
    link: _Link,
    after: Record,
    folder: Path,
    trusted: Sequence[Ed25519PublicKey],
    fingerprints: set[str],
    found: _Findings,
) -> None:
    """Check one earlier record by itself, and that it is where and what the later one says."""
    earlier, path = link.record, link.path
    is_known = earlier.signer in fingerprints
    check_signature(path, earlier, trusted if is_known else ())

    if earlier.number != after.number - 1:
        found.faults.append(
            Fault(
                f"it is number {earlier.number} of its chain, and the next is {after.number}",
                where=named(path),
            )
        )

    # Who signed it, and what that was compared with
    title = f"record {earlier.number} ({named(path)})"
    if after.replaces is not None:
        title += f", which record {after.number} replaced"
    if not earlier.signer:
        found.open.append(f"who made {title}: it is not signed")
    elif is_known:
        found.done.append(f"{title}: signed by key {earlier.signer}, which was given")
    else:
        found.open.append(
            f"{title}: signed by key {earlier.signer}, compared only with the key stored beside it; "
            "give its signer's public key with --key"
        )


def _not_followed(links: dict[str, _Link], passed: Sequence[_Link]) -> list[Fault]:
    """One fault for each given path of which no record was passed."""
    reached = {link.given for link in passed}

    unfollowed = {}
    for link in links.values():
        if link.given and link.given not in reached:
            unfollowed[link.given] = Fault(
                "the record is not part of this chain",
                where=link.given,
                why="no later record names its digest: one of them was altered, or one in between is missing",
                do="Give every record from there on.",
            )
    return list(unfollowed.values())
