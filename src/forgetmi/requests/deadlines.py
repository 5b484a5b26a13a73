"""When a withdrawal must be carried out."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from typing import Literal

from forgetmi.core.errors import EvidenceError, Fault

Term = Literal["gdpr", "uk_biobank", "own"]
UK_BIOBANK_DAYS = 90


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
        EvidenceError: Days are missing, out of range, or given for a term that fixes them.
    """
    if (term == "own") != (days is not None) or (days is not None and not 1 <= days <= 3650):
        raise EvidenceError(
            Fault(
                "the number of days does not fit the term",
                where="--days",
                why="own needs 1 to 3650; gdpr and uk_biobank fix the deadline themselves",
            )
        )
    if term == "gdpr":
        year, month = (
            (received.year + 1, 1) if received.month == 12 else (received.year, received.month + 1)
        )
        return date(year, month, min(received.day, monthrange(year, month)[1]))
    return received + timedelta(days=UK_BIOBANK_DAYS if days is None else days)
