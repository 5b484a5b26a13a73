"""The verb `forgetmi.report`: the pages of what was done from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forgetmi.audit.result import Audit
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.cost import Cost
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_name
from forgetmi.core.output import check_output
from forgetmi.core.partition import Partition
from forgetmi.core.registry import methods
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.evaluation.gaps import stayed
from forgetmi.evidence.request import RequestSpec
from forgetmi.report import run_text
from forgetmi.report.content import CohortSummary, ReportFacts, Work
from forgetmi.report.manifest import collect
from forgetmi.report.pages import write_report
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.method import Trace

NO_SPECIFICATION = "called from Python, without a specification"


def report(
    folder: Path | str,
    *,
    cohort: Cohort,
    partition: Partition,
    trace: Trace,
    original: Signals,
    unlearned: Signals,
    retrained: Sequence[Signals],
    evaluation: Evaluation,
    audit: Audit | None = None,
    method: Any = None,
    request: RequestSpec | None = None,
    retraining: Cost | None = None,
    min_patients: int = 5,
) -> tuple[Path, ...]:
    """Write the report, the engineer's page and the letter of what was done from Python.

    `forgetmi report RUN` writes those of a finished run, with a signed record beside them; pages made here rest on what
    you pass in, and no record vouches for it.

    Args:
        folder: Where the pages go; it is made if it is not there.
        cohort, partition: Whose data, and who is in which set.
        trace: What the method did (``unlearn(...).trace``).
        original, unlearned, retrained: The models' signals.
        evaluation: As `forgetmi.evaluate` returns it.
        audit: As `forgetmi.audit` returns it; None = the pages give no verdict.
        method: The method that made the model; needed only for one that is not registered.
        request: Number, due date and ground of the request.
        retraining: Cost of one retraining, to compare with.
        min_patients: As given to `forgetmi.prepare`.

    Returns:
        The three files, then letters of single requests.

    Raises:
        SpecError: The method is not known, or the folder cannot be written.

    Examples:
        >>> pages = report(
        ...     folder + "/pages", cohort=cohort, partition=sets, trace=trace, original=signals, unlearned=signals,
        ...     retrained=[signals, signals], evaluation=scores,
        ... )
        >>> [page.name for page in pages]
        ['report.html', 'engineer.html', 'letter.html']
    """
    info = method.info if method is not None else _registered(trace.method)
    folder = Path(folder)
    check_output(folder, folder=True)
    if (folder / "spec.yaml").exists():
        raise SpecError(
            Fault(
                "the folder is the directory of a run",
                where=folder.name,
                why="a run's own pages are not replaced by others",
                do="Choose another folder.",
            )
        )

    # The models by their names
    signals = {ORIGINAL: original, UNLEARNED: unlearned}
    for number, of_model in enumerate(retrained):
        signals[retrained_name(number)] = of_model

    info, covers = run_text.within_carrier(info, trace.facts)
    warnings = run_text.warnings(stayed=stayed(evaluation), first_gradient=trace.first_gradient)
    warnings += covers
    forgotten = codes(cohort.patient[partition.of_request().forget])[1]
    facts = ReportFacts(
        title=run_text.title(len(forgotten)),
        cohort=CohortSummary.of(cohort),
        partition=partition.of_request(),
        request=ForgetRequest(patients=tuple(map(str, forgotten))),
        method=info,
        options={**trace.options, **trace.facts},
        work=Work(
            steps=trace.steps,
            samples=trace.samples,
            cost=trace.cost,
            retrain=retraining,
            warnings=tuple(warnings),
        ),
        evaluation=evaluation,
        signals=signals,
        derived_from_forgotten=tuple(_derived(info, trace, min_patients)),
        manifest=collect(
            seeds={"root": trace.seed},
            cohort=cohort.digest,
            models={name: of_model.model for name, of_model in signals.items()},
            spec=NO_SPECIFICATION,
            stages={"unlearn": trace.cost},
            warnings=(*cohort.notices, *warnings),
        ),
        audit=audit,
        withdrawal=request or RequestSpec(),
    )

    folder.mkdir(parents=True, exist_ok=True)
    return write_report(folder / "report.html", facts)


def _registered(title: str) -> MethodInfo:
    """What a registered method says of itself, by its title.

    Raises:
        SpecError: None has that title.
    """
    for name in methods.names():
        info = methods.get(name).info
        if info.title == title:
            return info
    raise SpecError(
        Fault(
            "the method is not registered",
            why="the report says what it does and where it comes from",
            do="Pass the method, too: forgetmi.report(..., method=...).",
        )
    )


def _derived(info: MethodInfo, trace: Trace, min_patients: int) -> list[str]:
    """One sentence for everything in the new model that still derives from the forgotten."""
    sentences = run_text.vocabulary(
        original_given=False, pretrained=False, min_patients=min_patients
    )
    if not info.exact:
        sentences += run_text.inherited(
            changed=trace.changed,
            heads=trace.changed_heads,
            reads_forget="forget" in info.reads,
        )
    return sentences
