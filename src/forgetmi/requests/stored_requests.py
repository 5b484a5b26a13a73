"""Rows of a ledger as requests and runs: every value is checked, for a damaged file may hold any."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from forgetmi.core.errors import EvidenceError
from forgetmi.requests.damage import damaged
from forgetmi.requests.entries import STATES, Entry, Step
from forgetmi.requests.stored_subjects import StoredSubjects

REQUEST_COLUMNS = "number, received, due, term, ground, scope, state, batch, record"
RUN_COLUMNS = "record, folder, at, before, after, verdict, gap, floor, auc_before, auc"


def entry_of(row: Sequence[Any], named: StoredSubjects, *, where: str) -> Entry:
    """A request from its row.

    Args:
        row: Values of `REQUEST_COLUMNS`.
        named: Whom it names.
        where: Name of the ledger's file.

    Raises:
        EvidenceError: A value is of another kind.
    """
    number, received, due, term, ground, scope, state, batch, record = row
    wrong = []
    for column, value in (("term", term), ("ground", ground), ("scope", scope), ("record", record)):
        if not isinstance(value, str):
            wrong.append(column)

    days = {"received": _day(received), "due": _day(due)}
    wrong += [column for column, day in days.items() if day is None]
    if state not in STATES:
        wrong.append("state")
    if batch is not None and type(batch) is not int:
        wrong.append("batch")
    if type(number) is not int or number < 1:
        wrong.append("number")
    if wrong:
        raise _damaged(f"request {number}", wrong, where)

    assert days["received"] is not None
    assert days["due"] is not None
    return Entry(
        number,
        days["received"],
        days["due"],
        term,
        ground,
        scope,
        state,
        batch,
        record,
        patients=named.digests("patient"),
        studies=named.digests("study"),
        never_trained=tuple(named.never_trained),
        absent=tuple(named.absent),
        absent_from=named.absent_from,
        written={kind: tuple(named.written[kind]) for kind in named.written},
        readings=named.readings,
        recipients=named.recipients,
    )


def step_of(row: Sequence[Any], requests: Sequence[int], *, where: str) -> Step:
    """A run from its row.

    Args:
        row: Values of `RUN_COLUMNS`.
        requests: Numbers of the requests it closed.
        where: Name of the ledger's file.

    Raises:
        EvidenceError: A value is of another kind.
    """
    columns = RUN_COLUMNS.split(", ")
    wrong = []
    for column, value in zip(columns, row, strict=True):
        is_number = columns.index(column) >= columns.index("gap")
        kinds = (float, int, type(None)) if is_number else (str,)
        if not isinstance(value, kinds):
            wrong.append(column)
    if wrong:
        raise _damaged("a run", wrong, where)
    return Step(*row, requests=tuple(requests))


def _day(value: Any) -> date | None:
    """A day as the ledger writes it; None where it is none."""
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return day if day.isoformat() == value else None


def _damaged(what: str, columns: Sequence[str], where: str) -> EvidenceError:
    return damaged(where, f"{what}: {', '.join(columns)} is of another kind")
