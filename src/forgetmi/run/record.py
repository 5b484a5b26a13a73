"""From a finished run's files to its record; nothing is computed but digests."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from forgetmi.cohort.identifiers import load_key
from forgetmi.core.arrays import Strings, codes
from forgetmi.core.carrier import COMPLETE, COVERS, MOVED
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Cost
from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.files import default_cache, write_text
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.data.image_store import build_image_store
from forgetmi.evidence.manifest import PROOFS, training_data
from forgetmi.evidence.record import (
    FORMAT,
    DuplicateCounts,
    Environment,
    MethodFacts,
    ModelFacts,
    Recompute,
    Record,
    Subjects,
    TrainingData,
)
from forgetmi.evidence.record_files import read_record, run_files, sha256_of
from forgetmi.model.checkpoint import FACTS, intact
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.model.own_spec import is_own
from forgetmi.report import near_duplicates
from forgetmi.report.manifest import Manifest, without_folders
from forgetmi.run.audit_stage import stored_duplicates
from forgetmi.run.directory import RunDirectory
from forgetmi.run.prepared import image_rules
from forgetmi.run.record_findings import decision_in, findings_in
from forgetmi.run.run_models import given_model, model_names
from forgetmi.run.spec import RunSpec, to_plain
from forgetmi.run.trace_file import read_trace

# What the models before and after a withdrawal are called in a record; every other model is a reference
_ROLES: dict[str, Literal["before", "after"]] = {ORIGINAL: "before", UNLEARNED: "after"}


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
    manifest = Manifest.read(directory.manifest)
    request_rows = partition.of_request()

    # Every file of the run, and the proofs that are written now
    files = digests(directory.root)
    data = _proven(directory, spec, cohort, partition)
    files[PROOFS] = sha256_of(directory.root / PROOFS)

    subjects = Subjects(
        cohort.key_id,
        patients=_distinct(cohort.patient[request_rows.forget]),
        studies=_distinct(cohort.study[request_rows.forget]),
        whole_patients=request_rows.whole_patients,
        earlier=_earlier(cohort, partition),
    )
    models = [_model(directory, spec, manifest, name) for name in model_names(spec)]
    costs = {name: _seconds_and_bytes(cost) for name, cost in manifest.stages.items()}

    return Record(
        format=FORMAT,
        # Place in the chain
        number=1 if before is None else before.number + 1,
        previous="" if before is None else before.digest,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        # The request and the persons it is about, by keyed digests
        request=spec.request,
        received=spec.partition.date,
        reason=spec.partition.reason,
        subjects=subjects,
        duplicates=_duplicates(directory, spec),
        # What the models were made of, and how
        data=data,
        models=tuple(models),
        environment=_environment(manifest, directory),
        seeds=manifest.seeds,
        method=_method(directory, spec, files["spec.yaml"]),
        cost=costs,
        # What came out
        findings=findings_in(directory),
        decision=decision_in(directory),
        recompute=Recompute.of(spec.seed, spec.resamples, cohort.task),
        files=files,
        signer=signer,
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


def _proven(
    directory: RunDirectory, spec: RunSpec, cohort: Cohort, partition: Partition
) -> TrainingData:
    """Write the proofs of absence and return the roots of the trees that they lead to."""
    # Images as the original read them: their content is a leaf of the tree
    facts = read_facts(directory.model(ORIGINAL) / "model.json")
    preprocessing = image_rules(facts["preprocessing"], where="models/original/model.json")
    store = build_image_store(cohort, preprocessing, cache=default_cache())

    data, proofs = training_data(
        partition,
        images=store.content,
        reports=cohort.report,
        key=load_key(getattr(spec.cohort, "key_file", None)),
    )

    write_text(directory.root / PROOFS, proofs.to_json())
    return data


def _earlier(cohort: Cohort, partition: Partition) -> tuple[str, ...]:
    """Patients who were wholly forgotten before, and all studies."""
    # A patient with a row in use now was forgotten in part only
    in_use = np.union1d(partition.retain, partition.of_request().forget)
    of_patients_in_use = np.isin(partition.patient, partition.patient[in_use])
    whole = np.setdiff1d(partition.earlier, np.flatnonzero(of_patients_in_use))

    return *_distinct(cohort.patient[whole]), *_distinct(cohort.study[partition.earlier])


def _distinct(digests: Strings) -> tuple[str, ...]:
    return tuple(map(str, codes(digests)[1]))


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
    """Weights, role, seed and files of one model of the run."""
    folder = directory.model(name)
    weights = manifest.models[name]

    # Reading a checkpoint refuses altered files; what is left is another whole model in its place
    if (folder / FACTS).exists() and intact(folder) != weights:
        raise EvidenceError(
            Fault(
                "the stored weights are not those that were measured",
                where=f"models/{name}",
                do="Restore the files, or make the run again with another --out.",
            )
        )

    # A given model that was not copied has no files here
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = sha256_of(path)

    return ModelFacts(
        name=name,
        role=_ROLES.get(name, "reference"),
        given=given_model(spec, name) is not None,
        weights=weights,
        seed=manifest.seeds[name],
        files=files,
    )


def _factory(directory: RunDirectory) -> str:
    """The user's own factory that made the models, and the digest of its source; empty = none did."""
    path = directory.model(ORIGINAL) / FACTS
    if not path.exists():
        return ""
    spec = read_facts(path)["spec"]
    return f"{spec.get('factory')} sha256 {spec.get('source')}" if is_own(spec) else ""


def _environment(manifest: Manifest, directory: RunDirectory) -> Environment:
    return Environment(
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
        _factory(directory),
    )


def _method(directory: RunDirectory, spec: RunSpec, spec_digest: str) -> MethodFacts:
    """The method and its options, with what it was allowed to move; a folder in an option is not recorded."""
    options: dict[str, Any] = to_plain(spec.method)
    kind = str(options.pop("kind", type(spec.method).__name__))
    exact = bool(spec.method.info.exact)

    # Within a carrier, and on public weights, a method is exact where nothing else has seen a patient
    facts = read_trace(directory, UNLEARNED, needs=("facts",)).facts
    if COVERS in facts:
        options |= {name: facts[name] for name in (MOVED, COVERS) if name in facts}
        exact = exact and facts.get(COMPLETE) is True

    for name, value in options.items():
        if isinstance(value, str):
            options[name] = without_folders(value)

    return MethodFacts(kind, exact, options, spec_digest)


def _seconds_and_bytes(cost: Cost) -> dict[str, float]:
    return {name: float(value) for name, value in asdict(cost).items()}
