"""``forgetmi report``: write the report of a finished run again."""

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
from forgetmi.run.spec import spec_of


@dataclass(frozen=True)
class ReportOptions:
    """Options of ``forgetmi report``.

    Args:
        run: Directory of a finished run.
        pdf: Also print the pages to PDF (extra ``pdf``).
    """

    run: tyro.conf.Positional[Path]
    pdf: bool = False


def report(argv: Sequence[str]) -> None:
    """Write a finished run's report again from its stored arrays; no model is run."""
    options = command_line(
        ReportOptions,
        argv,
        prog="forgetmi report",
        description="Write the report of a finished run again; no model is run.",
    )

    # What makes pages is imported after the help was printed.
    from forgetmi.report.pdf import write_pdfs
    from forgetmi.run.finish import write_pages
    from forgetmi.run.pipeline import Run
    from forgetmi.run.record_keeping import Recording, keep_record
    from forgetmi.run.run_data import load_data
    from forgetmi.run.run_models import model_names

    # The pages are made from stored arrays, which must all be there
    spec, directory = spec_of(options.run), RunDirectory(options.run)
    missing = [name for name in model_names(spec) if not directory.signals(name).exists()]
    if missing or not directory.metrics.exists():
        raise SpecError(
            Fault(
                "the run is not finished",
                where=options.run.name,
                why=f"missing: {', '.join(missing) or 'metrics'}",
                do="Give the run's command again; it goes on where it stopped.",
            )
        )

    cohort, partition = load_data(spec)
    evaluation = Evaluation.read(directory.metrics)
    finished = Run(directory, cohort, partition, evaluation)

    # The pages, and on request their PDF files
    pages = write_pages(finished, spec, ["forgetmi", "report", *argv])
    if options.pdf:
        pages += write_pdfs(pages)

    echo("Report: " + "\n        ".join(map(str, pages)))
    # The record names the pages' digests.
    echo(keep_record(finished, spec, Recording()))
