"""The end of a run: report, costs, record, what the terminal shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from forgetmi.core.cost import Cost
from forgetmi.core.files import write_text
from forgetmi.core.model_names import UNLEARNED
from forgetmi.report.manifest import write_manifest
from forgetmi.report.pages import write_report
from forgetmi.run.audit_stage import notice
from forgetmi.run.console import ProgressDisplay, echo, summary
from forgetmi.run.costs import cost_of, retraining_cost, total_cpu_seconds
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import Run
from forgetmi.run.pipeline import run as run_pipeline
from forgetmi.run.record import Recording, keep_record
from forgetmi.run.report_facts import gather
from forgetmi.run.spec import RunSpec


def finish(
    spec: RunSpec,
    out: Path,
    *,
    command: list[str],
    how: Recording | None = None,
    also: Callable[[Run], None] | None = None,
) -> Run:
    """Run (or go on with) a specification, and write its metrics, manifest, report, what ``also`` adds, and record."""
    started = time.perf_counter()
    if spec.audit.enabled:
        echo(notice(RunDirectory(out), spec.audit))
    with ProgressDisplay() as display:
        done = run_pipeline(spec, out, on_progress=display.update)
        _report(done, spec, command)
        if also is not None:
            also(done)
        recorded = keep_record(done, spec, how or Recording())
    seconds = time.perf_counter() - started
    echo(summary([done.evaluation], [spec.seed], costs(spec, done)))
    echo(
        f"{seconds:.0f} s now; all stages together {total_cpu_seconds(spec, done.directory):.0f} CPU s.\n"
        f"Report: {done.directory.report}\n"
        f"Open it in any browser, e.g.  xdg-open {done.directory.report}\n"
        f"Numbers: {done.directory.metrics}   Model: {done.directory.model('unlearned')}\n"
        f"{recorded}"
    )
    return done


def costs(spec: RunSpec, done: Run) -> list[tuple[Cost, Cost]]:
    """Cost of unlearning and of one retraining; none where nothing was retrained here."""
    retraining = retraining_cost(spec, done.directory)
    return [(cost_of(done.directory, UNLEARNED), retraining)] if retraining else []


def _report(done: Run, spec: RunSpec, command: list[str]) -> tuple[Path, ...]:
    """Write manifest, table and pages; returns the pages."""
    from forgetmi.evaluation.suite import table

    facts = gather(done.directory, spec, done.cohort, done.partition, command=command)
    write_manifest(done.directory.manifest, facts.manifest)
    rows = table(done.evaluation)
    header = ",".join(rows[0])
    write_text(
        done.directory.root / "metrics.csv",
        "\n".join([header, *(",".join(_cell(value) for value in row.values()) for row in rows)])
        + "\n",
    )
    return write_report(done.directory.report, facts)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n') else text
