"""An audit's files: the rule, written first and refused when it differs later; a finished run as arrays; the record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.audit.auditor import audit
from forgetmi.audit.result import Audit
from forgetmi.audit.rule import AuditSpec
from forgetmi.cohort.canaries import SEALED, read_canaries
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Meter
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_text
from forgetmi.core.json_text import MOST_BYTES, read_json
from forgetmi.core.near_duplicates import NearDuplicate, NearDuplicates
from forgetmi.core.partition import Partition
from forgetmi.core.plain_text import Source, read_text
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.report import near_duplicates
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_references import pool_references
from forgetmi.run.relearn import read_relearning, taught_patients

_LATE = "a rule that is chosen after the signals decides nothing"


def declare(directory: RunDirectory, declared: AuditSpec) -> None:
    """Write what the audit decides by, or go on with the same.

    Raises:
        SpecError: Another rule was declared, or signals were there before any rule.
    """
    # A rule that is there already must be the same
    if directory.rule.exists():
        if _stored_text(directory.rule) != declared.to_json():
            raise SpecError(
                Fault(
                    "the audit's rule is not the one declared when this run began",
                    why=_LATE,
                    where=f"{directory.root.name}/rule.json",
                    do="Restore it, or choose another --out.",
                )
            )
        return

    # A new rule must come before the first signal
    if _has_signals(directory):
        raise SpecError(
            Fault(
                "the run has signals but declared no rule before them",
                where=directory.root.name,
                why=_LATE,
                do="Run it again with another --out.",
            )
        )

    write_text(directory.rule, declared.to_json())


def notice(directory: RunDirectory, declared: AuditSpec) -> str:
    """One line with the rule's digest, for whoever must prove later that it came before the signals."""
    advice = "note it elsewhere to prove later that it was fixed beforehand"

    # A run that goes on has signals already; only an older note proves anything then
    if _has_signals(directory):
        advice = (
            "signals are there already; a note of it made elsewhere before them proves that it was "
            "fixed beforehand"
        )

    return f"decision rule sha256 {declared.digest}: {advice}"


def declared_in(directory: RunDirectory) -> AuditSpec:
    """The rule a run declared.

    Raises:
        SpecError: It declared none, or the file is damaged.
    """
    if not directory.rule.exists():
        raise SpecError(
            Fault(
                "the run declared no rule for its audit",
                where=directory.root.name,
                do="Run it again with --audit.enabled.",
            )
        )

    # Written by `declare`, before the first signal
    where = f"{directory.root.name}/rule.json"
    values = read_json(directory.rule, what="the audit's rule", do="Restore the file.", where=where)

    # A file that lacks an option is damaged: no default may take its place
    return from_plain(AuditSpec, values, where=where, complete=True)


def read_draw(
    directory: RunDirectory, cohort: Cohort, partition: Partition, *, seed: int
) -> AuditedRun:
    """A finished run as the auditor sees it.

    Args:
        directory: The run.
        cohort, partition: As the run loaded them.
        seed: The run's root seed.
    """
    # Every model's signals for the whole cohort
    signals: dict[str, Signals] = {}
    for path in sorted((directory.root / "signals").glob("*.npz")):
        signals[path.stem] = Signals.load(path)
    signals |= pool_references(directory, partition)

    # Every model's signals while it learned the taught patients again
    taught = taught_patients(partition, seed=seed)
    relearning = {}
    for path in sorted((directory.root / "relearn").glob("*")):
        if path.is_dir():
            relearning[path.name] = read_relearning(path, taught=taught)

    # Canaries, where some were planted
    canaries = None
    sealed = directory.root / SEALED
    if sealed.exists():
        canaries = read_canaries(sealed, cohort).by_code(cohort)

    return AuditedRun(
        name=directory.root.name,
        partition=partition,
        duplicates=read_duplicates(directory),
        canaries=canaries,
        signals=signals,
        relearning=relearning,
    )


def read_duplicates(directory: RunDirectory) -> tuple[NearDuplicate, ...]:
    """Near-duplicates of what is forgotten of a finished run; none where it did not search."""
    if not directory.duplicates.exists():
        return ()
    return stored_duplicates(directory).pairs


def stored_duplicates(directory: RunDirectory) -> NearDuplicates:
    """Read a run's duplicates.json."""
    stored = read_json(
        directory.duplicates,
        what="the list of near-duplicates",
        do="Restore the file, or give the run's command again with another --out.",
    )
    return near_duplicates.from_plain(stored)


def run_audit(
    directory: RunDirectory,
    draws: Sequence[AuditedRun],
    *,
    cohort: Cohort,
    declared: AuditSpec,
    seed: int,
) -> tuple[Audit, Meter]:
    """Audit and write the record; see `forgetmi.audit.auditor.audit`.

    Args:
        directory: Where audit.json goes.
        draws, cohort, declared, seed: See there.

    Returns:
        The record, and what it cost.
    """
    with Meter() as meter:
        result = audit(draws, cohort=cohort, declared=declared, seed=seed)
        write_text(directory.audit, result.to_json())

    return result, meter


def stored_audit(path: Path) -> Audit:
    """Read an audit.json.

    Raises:
        SpecError: It is missing or damaged.
    """
    return Audit.read(path)


def _stored_text(path: Path) -> str:
    source = Source(path.name, "the audit's rule", "Restore the file, or choose another --out.")
    return read_text(path, source, limit=MOST_BYTES)


def _has_signals(directory: RunDirectory) -> bool:
    return any((directory.root / "signals").glob("*.npz"))
