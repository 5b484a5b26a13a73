"""The page of the queue: made from the ledger, and made anew by every command that changes it with ``--page``."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained, write_text
from forgetmi.core.regular_file import open_regular
from forgetmi.requests.ledger import Ledger


def check_page(page: Path | None) -> None:
    """Refuse a page that could not be written, before the ledger is changed.

    Raises:
        SpecError: Its folder is missing, or another file has its name.
    """
    if page is None:
        return
    if not page.parent.is_dir():
        raise SpecError(
            Fault(
                "the folder of the page is missing",
                where=page.name,
                do="Make it, or choose another.",
            )
        )
    if page.exists() and not _is_ours(page):
        raise SpecError(
            Fault(
                "another file has the name of the page",
                where=page.name,
                why="it is no page of a queue, and would be lost",
                do="Choose another name.",
            )
        )


def write_page(page: Path | None, ledger: Path, *, today: date | None = None) -> None:
    """Write the page of the queue as the ledger is now; None = no page is kept.

    Args:
        page: The file; replaced as a whole.
        ledger: The ledger's file.
        today: The day from which days are counted; None = today (UTC).

    Raises:
        SpecError: See `check_page`.
        ForgetMIError: The ledger cannot be read, or the page cannot be written.
    """
    if page is None:
        return
    check_page(page)

    # What makes pages is imported only where one is kept
    from forgetmi.commands.requests.queue_rows import drift_points, queue_rows
    from forgetmi.report.queue import render_queue

    opened = Ledger(ledger, reading=True)
    rows = queue_rows(opened, folder=page.parent)
    drift = drift_points(opened)
    opened.close()

    text = render_queue(rows, today=today or datetime.now(UTC).date(), drift=drift)
    with full_disk_explained(page.name):
        write_text(page, text)


def _is_ours(page: Path) -> bool:
    """Whether a file is a page of a queue."""
    from forgetmi.report.queue import MARK

    try:
        with open_regular(page) as file:
            return file.read(len(MARK)) == MARK.encode()
    except OSError:
        return False
