"""From the ledger's requests, and the runs that closed them, to the rows of the queue's page."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from urllib.parse import quote

from forgetmi.evidence.record import RECORD
from forgetmi.report.queue import QueueRow
from forgetmi.report.queue_year import DriftPoint
from forgetmi.requests.entries import FINAL, Entry, Step
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.stored_results import Result

REPORT, LETTER = "report.html", "letter.html"  # in the directory of a run


def queue_rows(ledger: Ledger, *, folder: Path) -> list[QueueRow]:
    """A row a request.

    Args:
        ledger: The ledger, opened.
        folder: Of the page, to which the addresses of a run's papers are relative.
    """
    # By the record that closed a request, or else by the last one that was made for it
    runs = {step.record: step for step in ledger.steps()}
    results = ledger.results()

    rows = []
    for entry in ledger.entries():
        run = runs.get(entry.record, results.get(entry.number))
        rows.append(_row(entry, run, ended=_ended(ledger, entry), folder=folder))
    return rows


def drift_points(ledger: Ledger) -> list[DriftPoint]:
    """The model in service before the first run that closed a request, and after each."""
    steps = ledger.steps()
    if not steps:
        return []

    points = [DriftPoint("before", steps[0].auc_before, None)]
    for step in steps:
        points.append(DriftPoint(step.at[:10], step.auc, step.gap))
    return points


def _row(entry: Entry, run: Step | Result | None, *, ended: date | None, folder: Path) -> QueueRow:
    return QueueRow(
        number=entry.name,
        patients=len(entry.patients),
        studies=len(entry.studies),
        received=entry.received,
        due=entry.due,
        state=entry.state,
        ground=entry.ground,
        ended=ended,
        verdict="" if run is None else run.verdict,
        papers={} if run is None else papers(entry, Path(run.folder), folder),
    )


def papers(entry: Entry, run: Path, folder: Path) -> dict[str, str]:
    """Addresses, relative to the page's folder, of what a run wrote about a request and is still there."""
    # A letter of the request's own, where several were answered together
    own = run / f"letter-{entry.name}.html"
    letter = own if own.is_file() else run / LETTER

    written = {"report": run / REPORT, "letter": letter, "record": run / RECORD}
    found = {}
    for paper, path in written.items():
        if path.is_file():
            found[paper] = quote(Path(os.path.relpath(path, folder.resolve())).as_posix())
    return found


def _ended(ledger: Ledger, entry: Entry) -> date | None:
    """The day a request was closed or refused."""
    if entry.state not in FINAL:
        return None
    at, _, _ = ledger.history(entry.number)[-1]
    return date.fromisoformat(at[:10])
