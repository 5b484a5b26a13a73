"""Whether a record holds: its form, its digest and signature, its chain, every file it names, and every proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.evidence.manifest import Proofs
from forgetmi.evidence.manifest import faults as proof_faults
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import (
    PUBLIC,
    SIGNATURE,
    SUMS,
    read_record,
    run_files,
    sha256_of,
)
from forgetmi.evidence.signing import fingerprint, fits, load_public, public_pem

_RESTORE = "Use the original file."
_SHOWN = 20  # names in one line


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


def verify(path: Path, *, key: Path | None = None, previous: Sequence[Path] = ()) -> Checked:
    """Check a record and everything it names.

    Args:
        path: record.json, or the run directory it lies in; its files are looked for beside it.
        key: Trusted public key (PEM); without, a signature is only compared with the key beside the record.
        previous: Records before it in the chain, in any order.

    Raises:
        EvidenceError: Something was altered, is missing, or does not fit; every such thing is named.
    """
    path = path / RECORD if path.is_dir() else path
    root, record = path.parent, read_record(path)
    trusted = None if key is None else load_public(key)
    done, unchecked = _itself(path, record, trusted)
    if outside := _names(record):
        raise EvidenceError(outside)
    faults = _files(record, root)
    done.append(f"{len(record.files)} files have the digests in the record")
    models, missing = _models(record, root)
    faults += models
    if missing:
        unchecked.append(
            f"the weights of {', '.join(missing)}: they are no longer beside the record"
        )
    if strangers := _strangers(record, root):
        unchecked.append(
            f"{len(strangers)} files beside it that the record does not name: "
            + ", ".join(strangers[:_SHOWN])
            + (" ..." if len(strangers) > _SHOWN else "")
        )
    if len(missing) < len(record.models):
        done.append(
            f"the stored weights of {len(record.models) - len(missing)} models have the digests in the record"
        )
    if not any(fault.where == record.data.proofs for fault in faults):
        faults += proof_faults(
            record.data, Proofs.from_json((root / record.data.proofs).read_text(encoding="utf-8"))
        )
    data = record.data
    done.append(
        f"{data.absent} forgotten images and reports are proven absent from the training data's tree "
        f"of {data.leaves_after} after, and were in that of {data.leaves_before} before"
    )
    if data.shared:
        unchecked.append(
            f"{data.shared} forgotten images or reports have exactly the content of a retained patient's, "
            "so they are still there"
        )
    chain_done, chain_open, chain_faults = _chain(record, previous, trusted)
    if faults or chain_faults:
        raise EvidenceError([*faults, *chain_faults])
    return Checked(record, (*done, *chain_done), (*unchecked, *chain_open))


def _itself(
    path: Path, record: Record, trusted: Ed25519PublicKey | None
) -> tuple[list[str], list[str]]:
    """Signature and digest of one record; what was checked and what cannot be."""
    root, where = path.parent, _where(path)
    if not record.signer:
        if trusted is not None:
            raise EvidenceError(
                Fault(
                    "the record is not signed",
                    where=where,
                    why="a key to trust was given",
                    do="Ask for the signed record.",
                )
            )
        _sums(path, record, signed=False)
        return ["the record has the digest in record.sha256"], [
            "who made the record, and whether record.json and record.sha256 were replaced together: it is not signed"
        ]
    signature = _beside(root, SIGNATURE)
    beside = load_public(root / PUBLIC)
    if fingerprint(beside) != record.signer or _beside(root, PUBLIC) != public_pem(beside):
        raise EvidenceError(
            Fault(
                "the key beside the record was altered, or is not the signer's",
                where=_where(root / PUBLIC),
                why=f"the record names the key {record.signer[:16]}",
                do=_RESTORE,
            )
        )
    if not fits(beside, signature, path.read_bytes()):
        raise EvidenceError(
            Fault(
                "the signature does not fit the record",
                where=where,
                why=f"{RECORD} or {SIGNATURE} was altered",
                do=_RESTORE,
            )
        )
    if trusted is not None and fingerprint(trusted) != record.signer:
        raise EvidenceError(
            Fault(
                "the record is signed by another key than the one to trust",
                where=where,
                why=f"it names {record.signer[:16]}, yours is {fingerprint(trusted)[:16]}",
                do="Give the key of whoever signs; after a change of keys, the old one.",
            )
        )
    _sums(path, record, signed=True)
    fits_key = f"the signature (Ed25519, key {record.signer[:16]}) fits the record"
    if trusted is None:
        return [fits_key], ["whose key it is: give the signer's public key with --key"]
    return [f"{fits_key}, and the key is the one to trust"], []


def _sums(path: Path, record: Record, *, signed: bool) -> None:
    text = _beside(path.parent, SUMS).decode("utf-8", "replace")
    if text == record.sums():
        return
    lines, expected = text.splitlines(), record.sums().splitlines()
    line = next(
        (number for number, (a, b) in enumerate(zip(lines, expected, strict=False), 1) if a != b),
        min(len(lines), len(expected)) + 1,
    )
    what = (
        "it was altered"
        if signed or line > 1
        else f"its digest is not the one of {RECORD}: one of them was altered"
    )
    raise EvidenceError(Fault(what, where=f"{_where(path.parent / SUMS)} line {line}", do=_RESTORE))


def _beside(root: Path, name: str) -> bytes:
    try:
        return (root / name).read_bytes()
    except OSError as error:
        raise EvidenceError(
            Fault(
                "a file of the record cannot be read",
                where=_where(root / name),
                why=error.strerror or "",
                do="Keep the record's files together.",
            )
        ) from None


def _where(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def _names(record: Record) -> list[Fault]:
    """Files outside the directory are never opened."""
    names = [
        *record.files,
        record.data.proofs,
        *(f"{one.name}/{name}" for one in record.models for name in one.files),
    ]
    return [
        Fault(f"the record names a file outside its directory: {name!r}", where=RECORD)
        for name in names
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
    ]


def _files(record: Record, root: Path) -> list[Fault]:
    found = []
    for name, digest in record.files.items():
        if not (root / name).is_file():
            found.append(
                Fault(
                    "a file the record names is missing",
                    where=name,
                    do="Keep the run's files together.",
                )
            )
        elif sha256_of(root / name) != digest:
            found.append(
                Fault(
                    "the file was altered after the record was written",
                    where=name,
                    why="its digest differs",
                    do=_RESTORE,
                )
            )
    if record.data.proofs not in record.files:
        found.append(
            Fault("the record does not name the file of its proofs", where=record.data.proofs)
        )
    if record.files.get("spec.yaml") != record.method.spec:
        found.append(
            Fault("the specification is not the one the method was run with", where="spec.yaml")
        )
    if record.decision.rule_digest and record.files.get("rule.json") != record.decision.rule_digest:
        found.append(
            Fault("the decision's rule is not the one that was declared", where="rule.json")
        )
    return found


def _models(record: Record, root: Path) -> tuple[list[Fault], list[str]]:
    """What is wrong with stored checkpoints, and which models are no longer there (the original should not be)."""
    faults, missing = [], []
    for one in record.models:
        folder = root / "models" / one.name
        if not folder.exists():
            missing.append(one.name)
            continue
        for name, digest in one.files.items():
            if not (folder / name).is_file() or sha256_of(folder / name) != digest:
                faults.append(
                    Fault(
                        "the checkpoint's file was altered or is missing",
                        where=f"models/{one.name}/{name}",
                        why="its digest is not the record's",
                        do=_RESTORE,
                    )
                )
    return faults, missing


def _strangers(record: Record, root: Path) -> list[str]:
    """Files of the run that the record does not name; training logs beside the models are never named."""
    named = {
        *record.files,
        *(f"models/{one.name}/{name}" for one in record.models for name in one.files),
    }
    logs = {f"{one.name}.log" for one in record.models}
    stored = [
        path.relative_to(root) for path in sorted((root / "models").rglob("*")) if path.is_file()
    ]
    kept = [
        path.as_posix()
        for path in stored
        if path.parts[1] not in logs and not any(part.startswith(".") for part in path.parts)
    ]
    return [name for name in (*run_files(root), *kept) if name not in named]


def _chain(
    record: Record,
    previous: Sequence[Path],
    trusted: Ed25519PublicKey | None,
) -> tuple[list[str], list[str], list[Fault]]:
    """Follow the digests back as far as records are given."""
    given: dict[str, tuple[Path, Record]] = {}
    for path in previous:
        path = path / RECORD if path.is_dir() else path
        one = read_record(path)
        _itself(path, one, trusted if one.signer == record.signer else None)
        given[one.digest] = path, one
    faults, at, links = [], record, 0
    while at.previous in given:
        path, before = given.pop(at.previous)
        if before.number != at.number - 1:
            faults.append(
                Fault(
                    f"it is number {before.number} of its chain, and the next is {at.number}",
                    where=_where(path),
                )
            )
        at, links = before, links + 1
    faults += [
        Fault(
            "the record is not part of this chain",
            where=_where(path),
            why="no later record names its digest: one of them was altered, or one between is missing",
            do="Give every record from there on.",
        )
        for path, _ in given.values()
    ]
    if not at.previous and at.number != 1:
        faults.append(Fault(f"record {at.number} names none before it", where=RECORD))
    done = [f"the chain holds over {links + 1} records"] if links else []
    if at.previous:
        return (
            done,
            [f"the chain before record {at.number}: give that record with --previous"],
            faults,
        )
    return [*done, "record 1 is the first of its chain"], [], faults
