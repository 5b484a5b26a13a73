"""Reads a day as people write it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted

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
