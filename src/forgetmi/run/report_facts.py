"""From a run's stored files to what its report says; nothing is computed twice and no model is run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from forgetmi.audit.result import Audit
from forgetmi.core.cost import Cost
from forgetmi.core.types import (
    UNLEARNED,
    Cohort,
    Evaluation,
    ForgetRequest,
    Partition,
    Signals,
    codes,
)
from forgetmi.data.decode import read_image
from forgetmi.evaluation.gaps import stayed
from forgetmi.report.content import (
    CohortSummary,
    Copies,
    CopyRow,
    Example,
    Findings,
    MethodSummary,
    ReportFacts,
    Work,
)
from forgetmi.report.manifest import Manifest, collect
from forgetmi.report.score_text import many
from forgetmi.run.audit_stage import stored_audit
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import cost_of, model_names, model_seed, retraining_cost, stage_names
from forgetmi.run.spec import RunSpec, to_plain
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
        command: The command line, for the manifest.
        audit: What an audit found; by default the run's own, where it has one.
    """
    partition = partition.of_request()
    if audit is None and directory.audit.exists():
        audit = stored_audit(directory.audit)
    evaluation = Evaluation.from_json(directory.metrics.read_text(encoding="utf-8"))
    trace = json.loads(directory.trace(UNLEARNED).read_text(encoding="utf-8"))
    info: MethodInfo = spec.method.info
    forgotten = codes(cohort.patient[partition.forget])[1]
    converted = json.loads(directory.notices.read_text(encoding="utf-8"))
    notices = (
        *cohort.notices,
        *(f"{notice} ({images} images)" for notice, images in sorted(converted.items())),
    )
    copies = (
        json.loads(directory.duplicates.read_text(encoding="utf-8")) if spec.duplicates else None
    )
    warnings = (*warn(evaluation, trace), *(copies["warnings"] if copies else ()))
    return ReportFacts(
        title=f"Withdrawal of {many(len(forgotten), 'patient')}",
        cohort=dataclasses.replace(CohortSummary.of(cohort), notices=notices),
        partition=partition,
        request=ForgetRequest(
            patients=tuple(map(str, forgotten)),
            reason=spec.partition.reason,
            date=spec.partition.date,
        ),
        method=MethodSummary(
            info.title,
            info.summary,
            info.paper,
            {**to_plain(spec.method), **trace["facts"]},
            info.exact,
        ),
        work=Work(
            trace["steps"],
            trace["samples"],
            Cost(**trace["cost"]),
            retraining_cost(spec, directory),
            warnings,
        ),
        evaluation=evaluation,
        signals={name: Signals.load(directory.signals(name)) for name in model_names(spec)},
        derived_from_forgotten=tuple(derived(spec, info, trace)),
        manifest=describe(directory, spec, cohort, warnings=(*notices, *warnings), command=command),
        copies=found_copies(copies) if copies else None,
        findings=None if audit is None else findings(audit),
        examples=examples(cohort, partition),
    )


def found_copies(stored: dict[str, Any]) -> Copies:
    """The search for copies as a run stores it (`forgetmi.data.duplicates`)."""
    return Copies(
        tuple(stored["images_compared"]),
        tuple(stored["reports_compared"]),
        tuple(
            CopyRow(
                one["kind"],
                one["similarity"],
                one["patient"],
                one["other_patient"],
                one["other_set"],
                one["do"],
            )
            for one in stored["copies"]
        ),
    )


def findings(audit: Audit) -> Findings:
    """An audit as the pages show it."""
    declared = {
        "rule": audit.declared.rule,
        "utility_margin": audit.declared.utility_margin,
        "subgroup_margin": audit.declared.subgroup_margin,
    }
    return Findings(
        **declared,
        **{
            f.name: getattr(audit, f.name)
            for f in dataclasses.fields(Findings)
            if f.name not in declared
        },
    )


def describe(
    directory: RunDirectory,
    spec: RunSpec,
    cohort: Cohort,
    *,
    warnings: tuple[str, ...],
    command: list[str],
) -> Manifest:
    """The manifest of a finished run."""
    names = model_names(spec)
    weights = {
        name: json.loads(directory.trace(name).read_text(encoding="utf-8"))["weights"]
        for name in names
    }
    text = directory.spec.read_text(encoding="utf-8")
    return collect(
        seeds={"root": spec.seed, **{name: model_seed(spec, name) for name in names}},
        cohort=cohort.digest,
        models=weights,
        spec=hashlib.sha256(text.encode()).hexdigest(),
        stages={name: cost_of(directory, name) for name in stage_names(spec, directory)},
        warnings=warnings,
        command=command,
    )


def warn(evaluation: Evaluation, trace: dict[str, Any]) -> list[str]:
    """What the reader must know before any number."""
    found = []
    if stayed(evaluation):
        found.append(
            "Did not forget: on each of the five measures the unlearned model is within the retrained "
            "models' own gap of the original."
        )
    if trace["first_gradient"] == 0.0:
        found.append(
            "The first step's gradient was zero: the method could not start from the original."
        )
    return found


def derived(spec: RunSpec, info: MethodInfo, trace: dict[str, Any]) -> list[str]:
    """One sentence for everything in the delivered model that still derives from the forgotten."""
    found = []
    if spec.given.original is not None:
        found.append(
            "The vocabulary came with the given original; whose reports it was made from is not known here."
        )
    elif not spec.model.pretrained:
        found.append(
            "The word-piece vocabulary was made from the reports of all training patients, the withdrawn "
            f"among them; every piece occurs in at least {spec.text.min_patients} patients."
        )
    if not info.exact:
        found.append(
            "The weights start from the original model's, which was trained on the withdrawn patients."
        )
        heads = [
            name
            for name in trace["changed"]
            if ("fc1" in name and "img_model" in name) or "classifier" in name
        ]
        if not heads:
            found.append("The class heads are the original's, unchanged.")
        if not any("running_mean" in name for name in trace["changed"]):
            found.append("The batch-normalisation statistics are the original's, unchanged.")
        if "forget" in info.reads:
            found.append("The withdrawn patients' data were read once more, to unlearn them.")
    return found


def examples(cohort: Cohort, partition: Partition, count: int = 3) -> tuple[Example, ...]:
    """A few radiographs of withdrawn and of never-seen patients, where the cohort allows it."""
    if not cohort.show_images:
        return ()
    shown = []
    for name, rows in (("withdrawn", partition.forget), ("never seen", partition.holdout)):
        patient = codes(cohort.patient[rows])[0]
        first = [
            int(rows[list(patient).index(code)])
            for code in range(min(count, int(patient.max()) + 1))
        ]
        shown += [
            Example(
                read_image(str(cohort.image[row])).pixels,
                f"{name}, {cohort.classes[cohort.label[row]]}" if cohort.label[row] >= 0 else name,
            )
            for row in first
            if cohort.image[row]
        ]
    return tuple(shown)
