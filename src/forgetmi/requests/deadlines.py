"""When a withdrawal must be carried out."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from typing import Literal

from forgetmi.core.errors import EvidenceError, Fault

Term = Literal["gdpr", "uk_biobank", "own"]
DEFAULT_TERM: Term = "gdpr"  # of requests entered without --term
UK_BIOBANK_DAYS = 90
MOST_DAYS = 3650


def deadline(received: date, term: Term, *, days: int | None = None) -> date:
    """The last day to carry a request out.

    GDPR: one month after receipt (Art. 12(3)); the period ends on the day of the same number in the next month, or on
    its last day where there is none (Regulation 1182/71, Art. 3(2)(c)). Its extension to the next working day is not
    used, so that no calendar of holidays is needed: the date is never too late.

    Args:
        received: Day of receipt.
        term: gdpr, uk_biobank (90 days), or own.
        days: For own, how many days, 1 to 3650; else None.

    Raises:
        EvidenceError: The deadline would lie after the year 9999; days are missing, out of range, or given for a term
            that fixes them.
    """
    _check_days(term, days)

    # The calendar ends with the year 9999.
    try:
        if term == "gdpr":
            return _one_month_later(received)
        if term == "uk_biobank":
            return received + timedelta(days=UK_BIOBANK_DAYS)

        assert days is not None  # checked above
        return received + timedelta(days=days)
    except (OverflowError, ValueError):
        raise EvidenceError(
            Fault(
                "there is no deadline",
                where="--received",
                why="it would lie after the year 9999",
                do="Check the year.",
            )
        ) from None


def _check_days(term: Term, days: int | None) -> None:
    # Days belong to the term "own", and to it alone.
    fits = (term == "own") == (days is not None)
    in_range = days is None or 1 <= days <= MOST_DAYS

    if not (fits and in_range):
        raise EvidenceError(
            Fault(
                "the number of days does not fit the term",
                where="--days",
                why="own needs 1 to 3650; gdpr and uk_biobank fix the deadline themselves",
            )
        )


def _one_month_later(day: date) -> date:
    year, month = day.year, day.month + 1
    if month > 12:
        year, month = day.year + 1, 1

    # The 31st of January leads to the last day of February.
    last_of_month = monthrange(year, month)[1]
    return date(year, month, min(day.day, last_of_month))
