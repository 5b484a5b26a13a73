"""Carries a run out and finishes it: report, costs, record, what the terminal shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from forgetmi.core.cost import Cost
from forgetmi.core.files import write_text
from forgetmi.core.model_names import UNLEARNED
from forgetmi.report.manifest import write_manifest
from forgetmi.report.pages import write_report
from forgetmi.run.absolute_paths import absolute
from forgetmi.run.audit_stage import notice
from forgetmi.run.beside import compared, second_cpu_seconds
from forgetmi.run.console import ProgressDisplay, echo, summary
from forgetmi.run.costs import cost_of, retraining_cost, total_cpu_seconds
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finished import finished_run
from forgetmi.run.pipeline import Run
from forgetmi.run.pipeline import run as run_pipeline
from forgetmi.run.record_keeping import Recording, check, keep_record, stored_record
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
    """Run (or go on with) a specification, and write its metrics, manifest, report, what ``also`` adds, and record.

    A run that is finished already is left as it is, to the byte; a record that is not signed yet is signed on request.

    Args:
        spec: The run; its relative paths are seen from the working directory.
        out: Its directory.
        command: The words it was started with, for the manifest.
        how: How the record is made.
        also: Writes further files before the record.

    Returns:
        The finished run.

    Raises:
        ForgetMIError: Input, disk, another process or a signed record is in the way.
    """
    spec, how = absolute(spec), how or Recording()
    check(how)
    done = finished_run(spec, RunDirectory(out), replace=how.replace)
    if done is not None:
        before = stored_record(out)
        recorded = keep_record(done, spec, how)
        _say_finished(done, recorded, changed=stored_record(out) != before)
        return done

    # Shown before any signal, so that it can be noted elsewhere
    started = time.perf_counter()
    if spec.audit.enabled:
        echo(notice(RunDirectory(out), spec.audit))

    # Models, scores and audit; then everything that is read from them
    with ProgressDisplay() as display:
        run = run_pipeline(spec, out, on_progress=display.update)
        write_pages(run, spec, command)
        if also is not None:
            also(run)
        recorded = keep_record(run, spec, how)

    # What the terminal shows
    seconds = time.perf_counter() - started
    cpu_seconds = total_cpu_seconds(spec, run.directory)
    cpu_seconds += second_cpu_seconds(spec, run.directory)
    table = compared(spec, run.directory)
    echo(summary([run.evaluation], [spec.seed], costs(spec, run), table=table))
    echo(
        f"{seconds:.0f} s now; all stages together {cpu_seconds:.0f} CPU s.\n"
        f"Report: {run.directory.report}\n"
        f"Open it in any browser, e.g.  xdg-open {run.directory.report}\n"
        f"Numbers: {run.directory.metrics}   Model: {run.directory.model('unlearned')}\n"
        f"{recorded}"
    )
    return run


def _say_finished(done: Run, recorded: str, *, changed: bool) -> None:
    """What the terminal shows of a run that was finished before."""
    what = "Its record was written; nothing else was done" if changed else "Nothing was done"
    echo(f"The run is finished already. {what}.\nReport: {done.directory.report}\n{recorded}")


def costs(spec: RunSpec, done: Run) -> list[tuple[Cost, Cost]]:
    """Cost of unlearning and of one retraining; none where nothing was retrained here."""
    retraining = retraining_cost(spec, done.directory)
    return [(cost_of(done.directory, UNLEARNED), retraining)] if retraining else []


def write_pages(run: Run, spec: RunSpec, command: list[str]) -> tuple[Path, ...]:
    """Write manifest, table and pages of a finished run; returns the pages.

    The manifest of models that were made by an earlier command keeps that command.
    """
    from forgetmi.evaluation.suite import table

    # Everything that the pages state, gathered once
    facts = gather(run.directory, spec, run.cohort, run.partition, command=command)
    write_manifest(run.directory.manifest, facts.manifest)

    # All scores as CSV
    rows = table(run.evaluation)
    lines = [",".join(rows[0])]
    for row in rows:
        lines.append(",".join(map(_csv_cell, row.values())))
    write_text(run.directory.root / "metrics.csv", "\n".join(lines) + "\n")

    return write_report(run.directory.report, facts)


def _csv_cell(value: object) -> str:
    text = "" if value is None else str(value)
    if not any(mark in text for mark in ',"\n'):
        return text
    return '"' + text.replace('"', '""') + '"'
