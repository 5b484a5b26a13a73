"""``forgetmi record`` and ``forgetmi verify``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from forgetmi.commands.show import say
from forgetmi.errors import EvidenceError, Fault, SpecError
from forgetmi.evidence import recompute
from forgetmi.evidence.build import record_of, same_but_for_signature, stored_record
from forgetmi.evidence.record import NOT_AUDITED, Record
from forgetmi.evidence.record_files import read_record, signer_of, write_record
from forgetmi.evidence.signing import load_private
from forgetmi.evidence.verify import verify as check_record
from forgetmi.facts import spec_of
from forgetmi.options import command_line
from forgetmi.pipeline import Run, load_data
from forgetmi.rundir import RunDirectory
from forgetmi.spec import RunSpec
from forgetmi.types import Evaluation


@dataclass(frozen=True)
class Recording:
    """How a run's record is made.

    Args:
        sign_key: PEM file of an Ed25519 private key to sign the record with.
        previous: The record (or run directory) before it in the chain.
    """

    sign_key: Path | None = None
    previous: Path | None = None


def keep_record(done: Run, spec: RunSpec, how: Recording) -> str:
    """Write a finished run's record, unless the one it has already says the same; returns what to tell.

    A signed record is never replaced by an unsigned one, nor by one that another key signs and that says the same.

    Raises:
        EvidenceError: The same record is signed by another key already.
    """
    key = None if how.sign_key is None else load_private(how.sign_key)
    record = record_of(done.directory, spec=spec, cohort=done.cohort, partition=done.partition, previous=how.previous,
                       signer=signer_of(key))
    old = stored_record(done.directory.root)
    if old is not None and how.previous is None:  # written again, it keeps its place in the chain
        record = replace(record, number=old.number, previous=old.previous)
    path = done.directory.root / "record.json"
    if old is not None and same_but_for_signature(old, record) and old.previous == record.previous:
        if old.signer and record.signer not in ("", old.signer):
            raise EvidenceError(Fault(
                "the record is signed by another key already", where=f"{done.directory.root.name}/record.json",
                why=f"it names {old.signer[:16]}, yours is {record.signer[:16]}, and it would say the same",
                do="Give that key, or none: after a change of keys a record stays valid under the old one."))
        if old.signer or not record.signer:
            if not old.signer:
                write_record(done.directory.root, old)  # a killed signing leaves files that do not fit it
            return f"Record: {path} ({_said(old)})"
    if old is not None and old.signer and not record.signer:
        return (f"Record: {path} is signed and is kept, but the run or its place in the chain has changed since; "
                "forgetmi record RUN --sign-key KEY makes a new one.")
    write_record(done.directory.root, record, key=key)
    return f"Record: {path} ({_said(record)})"


def check(how: Recording) -> None:
    """Find out before hours of work whether the key and the record before can be used.

    Raises:
        EvidenceError: They cannot.
    """
    if how.sign_key is not None:
        load_private(how.sign_key)
    if how.previous is not None:
        read_record(how.previous)


def _said(record: Record) -> str:
    signed = f"signed by key {record.signer[:16]}" if record.signer else "not signed"
    return f"number {record.number}, verdict {record.decision.outcome}, {signed}"


@dataclass(frozen=True)
class RecordOptions:
    """Options of ``forgetmi record``.

    Args:
        run: Directory of a finished run.
        sign_key: PEM file of an Ed25519 private key to sign the record with.
        previous: The record (or run directory) before it in the chain.
    """

    run: tyro.conf.Positional[Path]
    sign_key: Path | None = None
    previous: Path | None = None


def record(argv: Sequence[str]) -> None:
    """Make (and sign) the record of a finished run."""
    own = command_line(RecordOptions, argv, prog="forgetmi record",
                       description="Make the record of a finished run, e.g. to sign it after its report was read.")
    how = Recording(own.sign_key, own.previous)
    check(how)
    spec, directory = spec_of(own.run), RunDirectory(own.run)
    if not directory.report.exists():
        raise SpecError(Fault("the run is not finished", where=own.run.name, why="it has no report",
                              do="Give the run's command again; it goes on where it stopped."))
    cohort, partition = load_data(spec)
    evaluation = Evaluation.from_json(directory.metrics.read_text(encoding="utf-8"))
    say(keep_record(Run(directory, cohort, partition, evaluation), spec, how))


@dataclass(frozen=True)
class VerifyOptions:
    """Options of ``forgetmi verify``.

    Args:
        record: record.json, or the run directory it lies in.
        key: The signer's public key (PEM), from a source you trust.
        previous: Records before it in the chain, in any order.
        recompute: What to compute again from the stored signals: metrics, the verdict, or nothing.
    """

    record: tyro.conf.Positional[Path]
    key: Path | None = None
    previous: tuple[Path, ...] = ()
    recompute: Literal["metrics", "verdict", "nothing"] = "nothing"


def verify(argv: Sequence[str]) -> None:
    """Check a record, its chain, and every file it names."""
    own = command_line(VerifyOptions, argv, prog="forgetmi verify",
                       description="Check a record's form, digest, signature and chain, every file it names and every "
                                   "proof; with --recompute, compute a part again from the stored signals.")
    checked = check_record(own.record, key=own.key, previous=own.previous)
    root = own.record if own.record.is_dir() else own.record.parent
    done, unchecked = list(checked.done), list(checked.open)
    if own.recompute == "metrics":
        numbers, largest = recompute.metrics(root, checked.record)
        done.append(f"{numbers} numbers computed again from the stored signals are the same"
                    + (f" (largest difference {largest:.0e})" if largest else ""))
    else:
        unchecked.append("whether the metrics follow from the signals: --recompute metrics")
    if own.recompute == "verdict":
        done.append(f"the verdict follows from the stored signals: {recompute.verdict(root, checked.record)}")
    elif checked.record.decision.outcome != NOT_AUDITED:
        unchecked.append("whether the verdict follows from the signals: --recompute verdict")
    unchecked.append("whether the signals are those of the models: that needs the models, the cohort and its key")
    say("\n".join([f"{_said(checked.record)}", *(f"  holds: {line}" for line in done),
                   *(f"  not checked: {line}" for line in unchecked)]))
