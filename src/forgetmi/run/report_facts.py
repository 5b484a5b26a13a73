"""From a run's stored files to what its report says; nothing is computed twice and no model is run."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from forgetmi.audit.result import Audit
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import ForgetMIError
from forgetmi.core.json_text import read_json
from forgetmi.core.labels import known
from forgetmi.core.model_names import SHORT_RETRAIN, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.data.decode import read_image
from forgetmi.evaluation.gaps import stayed
from forgetmi.model.image_text import head_of
from forgetmi.report import near_duplicates, run_text
from forgetmi.report.content import CohortSummary, Example, ReportFacts, Work
from forgetmi.report.manifest import LIBRARIES, Manifest, collect
from forgetmi.run.audit_stage import stored_audit, stored_duplicates
from forgetmi.run.beside import compared
from forgetmi.run.costs import cost_of, retraining_cost, stage_names
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pool_references import pool_references
from forgetmi.run.run_models import model_names, model_seed
from forgetmi.run.spec import RunSpec, kind_of, to_plain
from forgetmi.run.trace_file import OF_UNLEARNING, StoredTrace, read_trace, read_weights
from forgetmi.unlearning.info import MethodInfo


def gather(
    directory: RunDirectory,
    spec: RunSpec,
    cohort: Cohort,
    partition: Partition,
    *,
    command: list[str],
    audit: Audit | None = None,
) -> ReportFacts:
    """Everything the report of a finished run needs.

    Args:
        directory: The run.
        spec: Its specification.
        cohort, partition: As the run loaded them.
        command: The command line, for the manifest of models that have none yet.
        audit: What an audit found; by default the run's own, where it has one.
    """
    partition = partition.of_request()
    info: MethodInfo = spec.method.info

    # What was said beforehand is about the run's own audit, not about one that pools several
    expected = stored_expectation(directory) if audit is None else ()

    # What the run stored
    if audit is None and directory.audit.exists():
        audit = stored_audit(directory.audit)
    evaluation = Evaluation.read(directory.metrics)
    trace = read_trace(directory, UNLEARNED, needs=OF_UNLEARNING)
    duplicates = stored_duplicates(directory) if spec.duplicates else None

    # What a reader must know of the data and of the run
    notices = (*cohort.notices, *converted(directory))
    warnings = run_text.warnings(stayed=stayed(evaluation), first_gradient=trace.first_gradient)
    info, covers = run_text.within_carrier(info, trace.facts)
    warnings += covers
    if duplicates is not None:
        warnings += near_duplicates.warnings(duplicates)

    forgotten = codes(cohort.patient[partition.forget])[1]

    return ReportFacts(
        title=run_text.title(len(forgotten)),
        cohort=dataclasses.replace(CohortSummary.of(cohort), notices=notices),
        partition=partition,
        request=ForgetRequest(
            patients=tuple(map(str, forgotten)),
            reason=spec.partition.reason,
            date=spec.partition.date,
        ),
        method=info,
        options={**to_plain(spec.method), **trace.facts},
        work=Work(
            steps=trace.steps,
            samples=trace.samples,
            cost=trace.cost,
            retrain=retraining_cost(spec, directory),
            cheapest=trace.cost if kind_of(spec.method) == SHORT_RETRAIN else None,
            warnings=tuple(warnings),
        ),
        evaluation=evaluation,
        signals={
            **{name: Signals.load(directory.signals(name)) for name in model_names(spec)},
            **pool_references(directory, partition),
        },
        derived_from_forgotten=tuple(derived(spec, info, trace)),
        manifest=describe(directory, spec, cohort, warnings=(*notices, *warnings), command=command),
        duplicates=duplicates,
        audit=audit,
        withdrawal=spec.request,
        expected=expected,
        beside=compared(spec, directory),
        examples=examples(cohort, partition, reading=spec.images.reading),
    )


def converted(directory: RunDirectory) -> list[str]:
    """What was converted on reading images and text encoder, with how many images."""
    values = read_json(directory.notices, what="the notices", do="Restore the file.")
    stored = from_plain(_Notices, {"images": values}, where=directory.notices.name)
    return [run_text.converted(notice, number) for notice, number in sorted(stored.images.items())]


def stored_expectation(directory: RunDirectory) -> tuple[str, ...]:
    """What a withdrawal said beforehand that its audit can show; empty = it said nothing."""
    if not directory.expected.exists():
        return ()
    values = read_json(directory.expected, what="what was expected", do="Restore the file.")
    plain = {"sentences": values.get("sentences")} if isinstance(values, dict) else values
    return from_plain(_Expected, plain, where=directory.expected.name).sentences


@dataclasses.dataclass(frozen=True)
class _Expected:
    """Of the content of expected.json, the words."""

    sentences: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Notices:
    """The content of notices.json."""

    images: Mapping[str, int]


def describe(
    directory: RunDirectory,
    spec: RunSpec,
    cohort: Cohort,
    *,
    warnings: tuple[str, ...],
    command: list[str],
) -> Manifest:
    """The manifest of a finished run; one of the same models that is stored keeps its command, versions and machine."""
    # Digests of the weights, as they were when each model was made
    names = model_names(spec)
    weights = {name: read_weights(directory, name) for name in names}

    # Versions and hardware are those of this process
    text = directory.spec.read_text(encoding="utf-8")
    manifest = collect(
        seeds={"root": spec.seed, **{name: model_seed(spec, name) for name in names}},
        cohort=cohort.digest,
        models=weights,
        spec=hashlib.sha256(text.encode()).hexdigest(),
        stages={name: cost_of(directory, name) for name in stage_names(spec, directory)},
        warnings=warnings,
        command=command,
    )
    return _as_made(manifest, directory)


def _as_made(manifest: Manifest, directory: RunDirectory) -> Manifest:
    """A manifest with what the stored one says of how these very models were made."""
    # Pages that are written again, perhaps elsewhere, do not change how the models came about
    try:
        stored = Manifest.read(directory.manifest)
    except ForgetMIError:
        return manifest

    of_same_run = (stored.models, stored.spec, stored.cohort, stored.seeds) == (
        manifest.models,
        manifest.spec,
        manifest.cohort,
        manifest.seeds,
    )
    if not of_same_run:
        return manifest

    # The file has its keys sorted; pages show them in the order they were collected in
    position = {name: place for place, name in enumerate(LIBRARIES)}
    libraries = sorted(stored.libraries, key=lambda name: position.get(name, len(position)))
    return dataclasses.replace(
        stored,
        libraries={name: stored.libraries[name] for name in libraries},
        seeds=manifest.seeds,
        models=manifest.models,
        stages=manifest.stages,
        warnings=manifest.warnings,
    )


def derived(spec: RunSpec, info: MethodInfo, trace: StoredTrace) -> list[str]:
    """One sentence for everything in the delivered model that still derives from the forgotten."""
    # Every model of a run shares the vocabulary
    sentences = run_text.vocabulary(
        original_given=spec.given.original is not None,
        pretrained=bool(spec.model.pretrained),
        min_patients=spec.text.min_patients,
    )

    # A retrained model has nothing else from the original
    if not info.exact:
        # The page runs no model, so the trace says which of the changed tensors are a head's; before it did, all models
        # were of the package's own architecture
        changed = trace.changed
        heads = trace.changed_heads
        if heads is None:
            heads = tuple(tensor for tensor in changed if head_of(tensor))
        sentences += run_text.inherited(
            changed=changed,
            heads=heads,
            reads_forget="forget" in info.reads,
        )

    return sentences


def examples(
    cohort: Cohort, partition: Partition, count: int = 3, *, reading: Mapping[str, Any]
) -> tuple[Example, ...]:
    """A few radiographs of withdrawn and never-seen patients, where the cohort allows it, read as the models' are."""
    if not cohort.show_images:
        return ()

    shown = []
    for group, rows in (("withdrawn", partition.forget), ("never seen", partition.holdout)):
        # The first image of each of the first patients
        patient = codes(cohort.patient[rows])[0]
        first = np.unique(patient, return_index=True)[1][:count]

        for row in rows[first]:
            if not cohort.image[row]:
                continue
            pixels = read_image(str(cohort.image[row]), **reading).pixels
            caption = run_text.caption(group, _label_in_words(cohort, int(row)))
            shown.append(Example(pixels, caption))

    return tuple(shown)


def _label_in_words(cohort: Cohort, row: int) -> str:
    """A row's label as a caption has it; empty = unknown, or there is none."""
    label = cohort.label[row]
    if cohort.task == "findings":
        present = [name for name, value in zip(cohort.classes, label, strict=True) if value == 1]
        return ", ".join(present)
    if not cohort.classes or not known(np.atleast_1d(label))[0]:
        return ""
    return cohort.classes[int(label)]
