"""Whether a run is finished: its record is there and holds, so that nothing is left to do."""

from __future__ import annotations

import dataclasses

from forgetmi.cohort.partition_file import read_partition, write_partition
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.core.json_text import read_json
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.evidence.manifest import PROOFS
from forgetmi.evidence.record import RECORD, Record
from forgetmi.evidence.verify import record_faults
from forgetmi.model.checkpoint import FACTS
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import Run
from forgetmi.run.record_keeping import stored_record
from forgetmi.run.run_data import load_data
from forgetmi.run.spec import GivenModels, RunSpec
from forgetmi.run.stored_spec import spec_text

# Files that a run writes anew whenever it goes on, besides its pages
WRITTEN_AGAIN = frozenset({"metrics.json", "metrics.csv", "audit.json", PROOFS})


def finished_run(spec: RunSpec, directory: RunDirectory, *, replace: bool = False) -> Run | None:
    """A run that is finished: the record, which is written last, names every file as it is; None = it is not.

    Nothing is written.

    Args:
        spec: The run, its paths absolute.
        directory: Its directory; it may not exist yet.
        replace: Whether a signed record may be replaced.

    Raises:
        SpecError: The directory holds another run, or a given model is another one now.
        PartitionError: The cohort or the forget list has changed since.
        EvidenceError: The record is signed, and files are not as it says.
    """
    if not (directory.root / RECORD).exists() or not directory.spec.exists():
        return None

    with directory.lock():
        directory.check_claim(spec_text(spec, directory))
        record = stored_record(directory.root)
        assert record is not None

        # An unsigned record is made again; a signed one is not written over
        faults = record_faults(directory.root, record)
        if record.signer and faults:
            _refuse_altered(directory, faults, replace=replace)
        if faults:
            return None

        # The same words must still mean the same data and models
        _check_given(spec, directory, record)
        cohort, partition = _data_again(spec, directory, record)
        write_partition(directory.partition, partition)
        evaluation = Evaluation.read(directory.metrics)
    return Run(directory, cohort, partition, evaluation, finished_before=True)


def _refuse_altered(directory: RunDirectory, faults: list[Fault], *, replace: bool) -> None:
    """Refuse a signed run that is not as its record says, unless only what a run writes again is concerned.

    Raises:
        EvidenceError: It may not be replaced, or what was altered would be taken over unseen.
    """
    first = Fault(
        "the run is signed, and something in it is not as its record says",
        where=directory.root.name,
        why="it is neither made again nor written over",
        do="Restore what is named below, or give --replace with --sign-key: what is missing is made again, and the old "
        "record is kept as the one before the new one.",
    )
    if not replace:
        raise EvidenceError([first, *faults])

    # A run makes what is missing and writes its pages; it would go on with any other altered file
    altered = []
    for fault in faults:
        is_page = fault.where.endswith(".html") and "/" not in fault.where
        is_there = bool(fault.where) and (directory.root / fault.where).is_file()
        if is_there and not is_page and fault.where not in WRITTEN_AGAIN:
            altered.append(fault)
    if altered:
        why = "the run would go on with what somebody altered"
        do = "Restore what is named below, or delete it: what is missing is made again."
        raise EvidenceError([dataclasses.replace(first, why=why, do=do), *altered])


def _data_again(spec: RunSpec, directory: RunDirectory, record: Record) -> tuple[Cohort, Partition]:
    """The data as the run had them, also where the model it made has taken the place of the given original.

    That model has forgotten the patients of this request; the run's own copy of the original has not.
    """
    path = spec.given.original
    made = record.model("after").weights
    replaced = path is not None and (path / FACTS).exists()
    if not replaced or path is None or read_facts(path / FACTS)["weights"] != made:
        return load_data(spec)

    given = GivenModels(directory.model(ORIGINAL), spec.given.retrained)
    cohort, partition = load_data(dataclasses.replace(spec, given=given))
    stored = read_partition(directory.partition, cohort)
    # The sets must be the same; how they came about was written then
    return cohort, dataclasses.replace(partition, notes=stored.notes)


def _check_given(spec: RunSpec, directory: RunDirectory, record: Record) -> None:
    """Refuse a given original that is neither the one this run was made from nor the one that it made."""
    path = spec.given.original
    if path is None or not (path / FACTS).exists():
        return

    # The trace has the weights as they were given: a missing gate is fitted afterwards
    do = "Restore the file."
    trace = read_json(directory.trace(ORIGINAL), what="the trace", do=do)
    known = (trace.get("given"), record.model("before").weights, record.model("after").weights)
    weights = read_facts(path / FACTS)["weights"]
    if weights not in known:
        raise SpecError(
            Fault(
                "the given original is another model than when this run was made",
                where=path.name,
                why=f"its weights are {weights[:12]}",
                do="Choose another --out, or restore the model.",
            )
        )
