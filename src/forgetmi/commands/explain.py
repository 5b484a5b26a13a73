"""``forgetmi explain``: one forgotten patient of a finished run on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.core.files import write_text
from forgetmi.core.output import check_output, output_lock
from forgetmi.core.partial_files import remove_partials_of


@dataclass(frozen=True)
class ExplainOptions:
    """Options of ``forgetmi explain``.

    Args:
        run: Directory of a finished run.
        patient: Keyed digest of one of its forgotten patients, or its first characters (6 or more).
        out: The page to write, outside the run, whose record names its own files.
    """

    run: tyro.conf.Positional[Path]
    patient: str
    out: Path


def explain(argv: Sequence[str]) -> None:
    """Write a page about one forgotten patient of a finished run; no model is run."""
    options = command_line(
        ExplainOptions,
        argv,
        prog="forgetmi explain",
        description="Write a page about one forgotten patient: how familiar they are to the models before and after, "
        "what of theirs is remembered most, copies, and what retraining would change. No model is run.",
    )
    check_output(options.out, folder=False)

    # What makes pages is imported after the help was printed.
    from forgetmi.report.patient_page import render_patient
    from forgetmi.run.console import echo
    from forgetmi.run.directory import RunDirectory
    from forgetmi.run.further_pages import refuse_run
    from forgetmi.run.patient_facts import patient_facts
    from forgetmi.run.spec import spec_of

    # Neither into a run nor into one of its folders
    for folder in options.out.absolute().parents:
        refuse_run(folder)
    facts = patient_facts(RunDirectory(options.run), spec_of(options.run), options.patient)
    page = render_patient(facts)
    with output_lock(options.out, folder=False):
        remove_partials_of(options.out)
        write_text(options.out, page)
    echo(f"Page: {options.out}")
