"""How a request is printed and how a day is read, for all subcommands of ``forgetmi requests``."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable, quoted
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
    # A ground is any text: on its own line it could pass for a request
    return printable("  ".join(columns))


def subject_count(entry: Entry) -> str:
    """How many patients or studies a request names."""
    if entry.patients:
        return f"{len(entry.patients)} patients"
    return f"{len(entry.studies)} studies"


# Before this day nobody withdrew from anything that a model was trained on.
_FIRST_DAY = date(1990, 1, 1)


def read_past_day(text: str, option: str) -> date:
    """A day that has come, as YYYY-MM-DD; empty = today (UTC).

    Raises:
        SpecError: It is no such day, lies ahead, or before 1990.
    """
    day = read_day(text, option)

    # East of Greenwich it is tomorrow already
    latest = datetime.now(UTC).date() + timedelta(days=1)
    if not _FIRST_DAY <= day <= latest:
        raise SpecError(
            Fault(
                "the day lies ahead" if day > latest else "the day lies before 1990",
                where=option,
                do="Check the year.",
            )
        )
    return day


def read_day(text: str, option: str) -> date:
    """A day as YYYY-MM-DD; empty = today (UTC).

    Raises:
        SpecError: It is no such day.
    """
    if not text:
        return datetime.now(UTC).date()

    # Python reads other forms, too, e.g. 20240101 and 2024-W01-1
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or text != day.isoformat():
        raise SpecError(
            Fault(f"{quoted(text)} is no day", where=option, do="Write it as YYYY-MM-DD.")
        )
    return day
