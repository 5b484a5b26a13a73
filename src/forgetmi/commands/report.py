"""``forgetmi report``: write the pages of a finished run again, beside its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.scores import Evaluation
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import RunSpec, spec_of


@dataclass(frozen=True)
class ReportOptions:
    """Options of ``forgetmi report``.

    Args:
        run: Directory of a finished run; it may have been moved.
        pdf: Also print the pages to PDF (extra ``pdf``).
        out: Folder for the pages; empty = report-2 in the run, or the next number that is free: a record names the
            run's own pages, which stay.
    """

    run: tyro.conf.Positional[Path]
    pdf: bool = False
    out: Path | None = None


def report(argv: Sequence[str]) -> None:
    """Write a finished run's pages again from its stored arrays; no model is run."""
    options = command_line(
        ReportOptions,
        argv,
        prog="forgetmi report",
        description="Write the pages of a finished run again; no model is run, and nothing that the "
        "run's record names is touched.",
    )

    # What makes pages is imported after the help was printed.
    from forgetmi.evidence.record import RECORD
    from forgetmi.report.pages import write_report
    from forgetmi.report.pdf import write_pdfs
    from forgetmi.run.finish import write_pages
    from forgetmi.run.further_pages import further_pages
    from forgetmi.run.pipeline import Run
    from forgetmi.run.record_keeping import Recording, keep_record
    from forgetmi.run.report_facts import gather
    from forgetmi.run.run_data import load_data
    from forgetmi.run.stored_cohort import stored_data

    spec, directory = spec_of(options.run), RunDirectory(options.run)
    _check_finished(spec, directory)
    if options.pdf:
        # Printing nothing finds out whether it can be printed, before any page is written
        write_pdfs(())
    command = ["forgetmi", "report", *argv]

    # Beside the record, from what the run stored
    if options.out is not None or (directory.root / RECORD).exists():
        facts = gather(directory, spec, *stored_data(spec, directory), command=command)
        target = further_pages(directory.root, options.out)
        pages = write_report(target.report, facts)
        if options.pdf:
            pages += write_pdfs(pages)
        echo("Report: " + "\n        ".join(map(str, pages)))
        return

    # Without a record the run is not finished: pages of its own, then the record that names them
    evaluation = Evaluation.read(directory.metrics)
    finished = Run(directory, *load_data(spec), evaluation)
    pages = write_pages(finished, spec, command)
    if options.pdf:
        pages += write_pdfs(pages)
    echo("Report: " + "\n        ".join(map(str, pages)))
    echo(keep_record(finished, spec, Recording()))


def _check_finished(spec: RunSpec, directory: RunDirectory) -> None:
    """Refuse a run that lacks what pages are made from."""
    from forgetmi.run.run_models import model_names

    missing = [name for name in model_names(spec) if not directory.signals(name).exists()]
    if missing or not directory.metrics.exists():
        raise SpecError(
            Fault(
                "the run is not finished",
                where=directory.root.name,
                why=f"missing: {', '.join(missing) or 'metrics'}",
                do="Give the run's command again; it goes on where it stopped.",
            )
        )
