"""From a finished run's files to its record; nothing is computed but digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from forgetmi.audit.result import Audit
from forgetmi.audit.rows import PatientRow
from forgetmi.cohort.identifiers import load_key
from forgetmi.core.arrays import Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.files import default_cache, write_text
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Score
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.evidence.manifest import PROOFS, training_data
from forgetmi.evidence.record import (
    FORMAT,
    NOT_AUDITED,
    RECORD,
    Decision,
    DuplicateCounts,
    Environment,
    Finding,
    Flag,
    MethodFacts,
    ModelFacts,
    Recompute,
    Record,
    Subjects,
    TrainingData,
)
from forgetmi.evidence.record_files import read_record, run_files, sha256_of
from forgetmi.evidence.record_writing import signer_of, write_record
from forgetmi.evidence.signing import load_private
from forgetmi.model.checkpoint import FACTS, load
from forgetmi.report import near_duplicates
from forgetmi.report.manifest import Manifest, without_folders
from forgetmi.run.audit_stage import stored_duplicates
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import Run
from forgetmi.run.run_models import given_model, model_names
from forgetmi.run.spec import RunSpec, to_plain

AUDIT = "audit.json"
_MEASURES = {
    "gap",
    "gap_joint",
    "gap_floor",
    "jsf",
    "loss_spearman",
    "auc",
    "f1",
    "sample_mia",
    "loss_auc",
    "pair_auc",
}


def record_of(
    directory: RunDirectory,
    *,
    spec: RunSpec,
    cohort: Cohort,
    partition: Partition,
    previous: Path | None = None,
    signer: str = "",
) -> Record:
    """The record of a finished run; also writes the proofs it names into the run's directory.

    Args:
        directory: The run, with its report written.
        spec, cohort, partition: As the run had them.
        previous: Record (or run directory) before it in the chain; None = the first.
        signer: Fingerprint of the key that will sign it.

    Raises:
        EvidenceError: The record before cannot be read, or a stored model is not the one that was measured.
        CheckpointError: A stored model was altered.
    """
    before = None if previous is None else read_record(previous)
    manifest = Manifest.from_json(directory.manifest.read_text(encoding="utf-8"))
    preprocessing = json.loads(
        (directory.model(ORIGINAL) / "model.json").read_text(encoding="utf-8")
    )["preprocessing"]
    files, now = digests(directory.root), partition.of_request()
    return Record(
        format=FORMAT,
        number=1 if before is None else before.number + 1,
        previous="" if before is None else before.digest,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        request=spec.request,
        received=spec.partition.date,
        reason=spec.partition.reason,
        subjects=Subjects(
            cohort.key_id,
            patients=_distinct(cohort.patient[now.forget]),
            studies=_distinct(cohort.study[now.forget]),
            whole_patients=now.whole_patients,
            earlier=_earlier(cohort, partition),
        ),
        duplicates=_duplicates(directory, spec),
        data=_proven(
            directory, spec, cohort, partition, ImagePreprocessing(**preprocessing["images"]), files
        ),
        models=tuple(_model(directory, spec, manifest, name) for name in model_names(spec)),
        environment=Environment(
            manifest.package,
            code_digest(),
            manifest.python,
            manifest.platform,
            manifest.processor,
            manifest.accelerator,
            manifest.cores,
            manifest.threads,
            manifest.command,
            manifest.libraries,
        ),
        seeds=manifest.seeds,
        method=_method(spec, files["spec.yaml"]),
        cost={
            name: {what: float(value) for what, value in asdict(cost).items()}
            for name, cost in manifest.stages.items()
        },
        findings=findings_in(directory),
        decision=decision_in(directory),
        recompute=Recompute(spec.seed, spec.resamples, cohort.ordinal),
        files=files,
        signer=signer,
    )


def same_but_for_signature(one: Record, two: Record) -> bool:
    """Whether two records say the same of the same files: time, place in the chain and signer may differ."""
    return one == replace(
        two, written=one.written, number=one.number, previous=one.previous, signer=one.signer
    )


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file of a run that its record names; see `run_files`."""
    return {name: sha256_of(root / name) for name in run_files(root)}


def code_digest() -> str:
    """SHA-256 over the names and contents of the package's source files: a version alone does not tell an edit."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _earlier(cohort: Cohort, partition: Partition) -> tuple[str, ...]:
    """Patients who were wholly forgotten before, and all studies."""
    whole = np.setdiff1d(
        partition.earlier,
        np.flatnonzero(
            np.isin(
                partition.patient,
                partition.patient[np.union1d(partition.retain, partition.of_request().forget)],
            )
        ),
    )
    return *_distinct(cohort.patient[whole]), *_distinct(cohort.study[partition.earlier])


def _distinct(digests: Strings) -> tuple[str, ...]:
    return tuple(map(str, codes(digests)[1]))


def _proven(
    directory: RunDirectory,
    spec: RunSpec,
    cohort: Cohort,
    partition: Partition,
    preprocessing: ImagePreprocessing,
    files: dict[str, str],
) -> TrainingData:
    """Write the proofs, enter them among the files, and return the roots they lead to."""
    store = build_image_store(cohort, preprocessing, cache=default_cache())
    data, proofs = training_data(
        partition,
        images=store.content,
        reports=cohort.report,
        key=load_key(getattr(spec.cohort, "key_file", None)),
    )
    write_text(directory.root / PROOFS, proofs.to_json())
    files[PROOFS] = sha256_of(directory.root / PROOFS)
    return data


def _duplicates(directory: RunDirectory, spec: RunSpec) -> DuplicateCounts:
    if not spec.duplicates:
        return DuplicateCounts(searched=False)
    duplicates = stored_duplicates(directory)
    return DuplicateCounts(
        searched=True,
        images=duplicates.images,
        reports=duplicates.reports,
        copies=duplicates.counts(),
        warnings=tuple(near_duplicates.warnings(duplicates)),
    )


def _model(directory: RunDirectory, spec: RunSpec, manifest: Manifest, name: str) -> ModelFacts:
    roles: dict[str, Literal["before", "after"]] = {ORIGINAL: "before", UNLEARNED: "after"}
    folder = directory.model(name)
    if (folder / FACTS).exists() and load(folder).digest != manifest.models[
        name
    ]:  # load refuses altered files
        raise EvidenceError(
            Fault(
                "the stored weights are not those that were measured",
                where=f"models/{name}",
                do="Restore the files, or make the run again with another --out.",
            )
        )
    return ModelFacts(
        name=name,
        role=roles.get(name, "reference"),
        given=given_model(spec, name) is not None,
        weights=manifest.models[name],
        seed=manifest.seeds[name],
        files={
            path.relative_to(folder).as_posix(): sha256_of(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    )


def _method(spec: RunSpec, digest: str) -> MethodFacts:
    def shown(value: Any) -> Any:
        return without_folders(value) if isinstance(value, str) else value

    options = to_plain(spec.method)
    return MethodFacts(
        str(options.pop("kind", type(spec.method).__name__)),
        bool(spec.method.info.exact),
        {name: shown(value) for name, value in options.items()},
        digest,
    )


def findings_in(directory: RunDirectory) -> tuple[Finding, ...]:
    """What a finished run's metrics.json and audit.json found, as a record says it."""
    return *_measures(directory), *_attacks(directory)


def _measures(directory: RunDirectory) -> Iterator[Finding]:
    evaluation = Evaluation.from_json(directory.metrics.read_text(encoding="utf-8"))
    for model in (ORIGINAL, UNLEARNED, "retrain"):
        for one in evaluation.scores.get(model, ()):
            if one.name not in _MEASURES:
                continue
            if isinstance(one, Score):
                yield Finding(
                    model,
                    one.name,
                    one.head,
                    one.on,
                    float(one.value),
                    one.interval,
                    one.reference,
                    one.note,
                )
            else:
                yield Finding(model, one.name, one.head, one.on, None, None, None, one.reason)


def _audit(directory: RunDirectory) -> Audit | None:
    path = directory.root / AUDIT
    return Audit.from_json(path.read_text(encoding="utf-8")) if path.exists() else None


def _attacks(directory: RunDirectory) -> Iterator[Finding]:
    audit = _audit(directory)
    for row in audit.attacks if audit is not None else ():
        reference = sum(row.retrained) / len(row.retrained) if row.retrained else None
        yield Finding(
            row.model,
            row.name,
            row.channel,
            "",
            float(row.value),
            row.interval,
            reference,
            row.note,
        )
    for row in audit.missing if audit is not None else ():
        yield Finding(UNLEARNED, row.name, row.channel, "", None, None, None, row.reason)


def decision_in(directory: RunDirectory) -> Decision:
    """What a finished run's audit.json decided, as a record says it."""
    audit = _audit(directory)
    if audit is None:
        return Decision(
            NOT_AUDITED, {}, "", {}, ("The run was not audited: there is no verdict.",), {}
        )
    rule = json.loads(audit.declared.to_json())
    return Decision(
        audit.outcome,
        rule,
        audit.rule_digest,
        {one.channel: one.outcome for one in audit.verdict.channels},
        audit.statements,
        {row.patient: flag for row in audit.patients if (flag := _flag(row))},
    )


def _flag(row: PatientRow) -> Flag | None:
    """What the audit found of one patient that the verdict on all does not say."""
    return (
        "copy retained"
        if row.near_duplicate
        else "remembered"
        if row.remembered
        else "forgotten too visibly"
        if row.over_forgotten
        else None
    )


def stored_record(root: Path) -> Record | None:
    """The record a run's directory holds; None = none yet."""
    return read_record(root) if (root / RECORD).exists() else None


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
    record = record_of(
        done.directory,
        spec=spec,
        cohort=done.cohort,
        partition=done.partition,
        previous=how.previous,
        signer=signer_of(key),
    )
    old = stored_record(done.directory.root)
    if old is not None and how.previous is None:  # written again, it keeps its place in the chain
        record = replace(record, number=old.number, previous=old.previous)
    path = done.directory.root / "record.json"
    if old is not None and same_but_for_signature(old, record) and old.previous == record.previous:
        if old.signer and record.signer not in ("", old.signer):
            raise EvidenceError(
                Fault(
                    "the record is signed by another key already",
                    where=f"{done.directory.root.name}/record.json",
                    why=f"it names {old.signer[:16]}, yours is {record.signer[:16]}, and it would say the same",
                    do="Give that key, or none: after a change of keys a record stays valid under the old one.",
                )
            )
        if old.signer or not record.signer:
            if not old.signer:
                write_record(
                    done.directory.root, old
                )  # a killed signing leaves files that do not fit it
            return f"Record: {path} ({_said(old)})"
    if old is not None and old.signer and not record.signer:
        return (
            f"Record: {path} is signed and is kept, but the run or its place in the chain has changed since; "
            "forgetmi record RUN --sign-key KEY makes a new one."
        )
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
