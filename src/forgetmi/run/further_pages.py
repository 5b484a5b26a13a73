"""Where pages go that are written after a run's record: beside it, never into what it names."""

from __future__ import annotations

from pathlib import Path

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained
from forgetmi.evidence.record import RECORD
from forgetmi.run.directory import RunDirectory


def further_pages(run: Path, out: Path | None) -> RunDirectory:
    """The folder for pages of a finished run that are written again; one beside the record is made.

    Args:
        run: The run's directory.
        out: A folder that was named; None = the run itself while it has no record, then ``report-2`` in it, or the next
            number that is free.

    Raises:
        SpecError: The named folder is a run.
        ForgetMIError: The folder cannot be made.
    """
    if out is not None:
        refuse_run(out)
        return RunDirectory(out)

    # Without a record the run is not finished: its pages are its own
    if not (run / RECORD).exists():
        return RunDirectory(run)

    with full_disk_explained(run.name):
        return RunDirectory(_next_free(run))


def refuse_run(out: Path) -> None:
    """Refuse the directory of a run: its own pages are not replaced by others."""
    if RunDirectory(out).spec.exists():
        raise SpecError(
            Fault(
                "--out is the directory of a run",
                where=out.name,
                why="a run's own audit and pages are not replaced by others",
                do="Choose another --out.",
            )
        )


def _next_free(run: Path) -> Path:
    """Make the first of report-2, report-3 ... that is not there yet."""
    number = 2
    while True:
        folder = run / f"report-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder
