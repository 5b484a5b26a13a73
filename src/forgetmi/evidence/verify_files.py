"""Whether the files of a run are those that its record names."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePath, PurePosixPath

from forgetmi.core.errors import Fault
from forgetmi.core.printable import quoted
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import LOCK, OWN_FILES, SUMS, model_of_log, sha256_of
from forgetmi.evidence.verify_signature import RESTORE


def names_outside(record: Record) -> list[Fault]:
    """One fault for each named file outside the run's directory; those are never opened."""
    # Every name in the record
    names = [*record.files, record.data.proofs, *filter(None, [record.replaces])]
    for model in record.models:
        names += [f"{model.name}/{name}" for name in model.files]

    faults = []
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            faults.append(
                Fault(
                    f"the record names a file outside its directory: {quoted(name)}", where=RECORD
                )
            )
    return faults


def altered_files(record: Record, root: Path, *, deleted: Collection[str] = ()) -> list[Fault]:
    """What is wrong with the files that a record names, the models' left aside.

    Args:
        record: The record.
        root: The run's directory.
        deleted: Models that were deleted on purpose: where their training logs are gone, too, that is no fault.
    """
    faults = []

    # Missing files and altered files
    for name, digest in record.files.items():
        if not (root / name).is_file():
            if model_of_log(PurePath(name)) in deleted:
                continue
            faults.append(
                Fault(
                    "a file that the record names is missing",
                    where=name,
                    do="Keep the run's files together.",
                )
            )
        elif sha256_of(root / name) != digest:
            faults.append(
                Fault(
                    "the file was altered after the record was written",
                    where=name,
                    why="its digest differs",
                    do=RESTORE,
                )
            )
    return faults + _misnamed(record)


def _misnamed(record: Record) -> list[Fault]:
    """What a record states about its own files that does not fit together."""
    faults = []

    # The proofs and the specification are among the named files
    if record.data.proofs not in record.files:
        faults.append(
            Fault("the record does not name the file of its proofs", where=record.data.proofs)
        )
    if record.files.get("spec.yaml") != record.method.spec:
        faults.append(
            Fault("the specification is not the one the method was run with", where="spec.yaml")
        )

    # A run without an audit has no rule
    rule = record.decision.rule_digest
    if rule and record.files.get("rule.json") != rule:
        faults.append(
            Fault("the decision's rule is not the one that was declared", where="rule.json")
        )
    return faults


def altered_models(record: Record, root: Path, *, deleted: Collection[str] = ()) -> list[Fault]:
    """What is wrong with the checkpoints that a record names.

    Args:
        record: The record.
        root: The run's directory.
        deleted: Models whose folders were deleted on purpose: where they are gone, that is no fault.
    """
    faults = []
    for model in record.models:
        folder = root / "models" / model.name

        # A missing folder is one fault, not one for each file
        if not folder.exists():
            if model.name not in deleted:
                faults.append(_gone(model.name))
            continue

        for name, digest in model.files.items():
            if not (folder / name).is_file() or sha256_of(folder / name) != digest:
                faults.append(
                    Fault(
                        "the checkpoint's file was altered or is missing",
                        where=f"models/{model.name}/{name}",
                        why="its digest is not the record's",
                        do=RESTORE,
                    )
                )
    return faults


def _gone(name: str) -> Fault:
    return Fault(
        "a model that the record names is gone",
        where=f"models/{name}",
        do=f"Restore its folder; if it was deleted on purpose: forgetmi verify --deleted {name}",
    )


def unknown_models(record: Record, deleted: Collection[str]) -> list[Fault]:
    """One fault for each name given as deleted that is no model of the record."""
    names = [model.name for model in record.models]
    faults = []
    for name in deleted:
        if name not in names:
            why = f"its models are {', '.join(names)}"
            what = f"the record names no model {quoted(name)}"
            faults.append(Fault(what, where="--deleted", why=why))
    return faults


def missing_models(record: Record, root: Path) -> list[str]:
    """Models whose checkpoints are no longer there."""
    return [model.name for model in record.models if not (root / "models" / model.name).exists()]


def unnamed_files(record: Record, root: Path) -> list[str]:
    """Every file below the run's folder that the record does not name, hidden ones and links too; sorted."""
    known = {*record.files, RECORD, SUMS, LOCK}
    for model in record.models:
        known |= {f"models/{model.name}/{name}" for name in model.files}

    # An unsigned record has no signature
    if record.signer:
        known |= set(OWN_FILES)

    unnamed = []

    def unreadable(error: OSError) -> None:
        # What lies in a folder that cannot be read is not known either
        unnamed.append(Path(str(error.filename)).relative_to(root).as_posix())

    for folder, folders, files in os.walk(root, onerror=unreadable):
        # A link to a folder is not followed, and is as unknown as a file
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*files, *links):
            relative = (Path(folder) / name).relative_to(root).as_posix()
            if relative not in known:
                unnamed.append(relative)
    return sorted(unnamed)
