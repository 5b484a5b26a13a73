"""How a request is printed and how a day is read, for all subcommands of ``forgetmi requests``."""

from __future__ import annotations

from datetime import UTC, date, datetime

from forgetmi.core.errors import Fault, SpecError
from forgetmi.requests.entries import Entry


def entry_line(entry: Entry) -> str:
    """One request in one line."""
    columns = [
        entry.name,
        f"{entry.state:<10}",
        f"due {entry.due}",
        f"received {entry.received}",
        subject_count(entry),
        entry.scope,
        entry.ground,
    ]
    if entry.record:
        columns.append(f"record {entry.record[:16]}")
    return "  ".join(columns)


def subject_count(entry: Entry) -> str:
    """How many patients or studies a request names."""
    if entry.patients:
        return f"{len(entry.patients)} patients"
    return f"{len(entry.studies)} studies"


def read_day(text: str, option: str) -> date:
    """A day as YYYY-MM-DD; empty = today (UTC).

    Raises:
        SpecError: It is no such day.
    """
    if not text:
        return datetime.now(UTC).date()

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SpecError(
            Fault(f"{text!r} is no day", where=option, do="Write it as YYYY-MM-DD.")
        ) from None
