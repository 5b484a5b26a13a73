"""Whether the files of a run are those that its record names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from forgetmi.core.errors import Fault
from forgetmi.core.printable import quoted
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.record_files import run_files, sha256_of
from forgetmi.evidence.verify_signature import RESTORE


def names_outside(record: Record) -> list[Fault]:
    """One fault for each named file outside the run's directory; those are never opened."""
    # Every name in the record
    names = [*record.files, record.data.proofs]
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


def altered_files(record: Record, root: Path) -> list[Fault]:
    """What is wrong with the files that a record names, the models' left aside."""
    faults = []

    # Missing files and altered files
    for name, digest in record.files.items():
        if not (root / name).is_file():
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


def altered_models(record: Record, root: Path) -> list[Fault]:
    """What is wrong with stored checkpoints; models that are no longer there are no fault."""
    faults = []
    for model in record.models:
        folder = root / "models" / model.name

        # A checkpoint may be deleted; it may not be another one
        if not folder.exists():
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


def missing_models(record: Record, root: Path) -> list[str]:
    """Models whose checkpoints are no longer there (the original's should not be)."""
    return [model.name for model in record.models if not (root / "models" / model.name).exists()]


def unnamed_files(record: Record, root: Path) -> list[str]:
    """Files of the run that the record does not name; training logs of the models are never named."""
    named = {*record.files}
    logs = set()
    for model in record.models:
        named |= {f"models/{model.name}/{name}" for name in model.files}
        logs.add(f"{model.name}.log")

    # Files of models, without logs and hidden ones
    of_models = []
    for path in sorted((root / "models").rglob("*")):
        relative = path.relative_to(root)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and relative.parts[1] not in logs and not hidden:
            of_models.append(relative.as_posix())

    return [name for name in (*run_files(root), *of_models) if name not in named]
