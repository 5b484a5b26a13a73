"""Writes the ledger's history: every change of a request, and the runs that carried requests out."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from forgetmi.evidence.record import Record
from forgetmi.requests.entries import State
from forgetmi.requests.seals import write_seal


def write_event(connection: sqlite3.Connection, number: int, state: State, note: str) -> None:
    """Add a change to the history of a request, and seal the request as it is now; the last step of the change.

    Args:
        connection: Of the ledger, within a transaction.
        number: The request.
        state: Its state after the change.
        note: Why, without identifiers.
    """
    # Times are stored in UTC, to the second
    now = datetime.now(UTC).isoformat(timespec="seconds")
    connection.execute(
        "INSERT INTO events (request, at, state, note) VALUES (?, ?, ?, ?)",
        (number, now, state, note),
    )
    write_seal(connection, number)


def write_run(connection: sqlite3.Connection, record: Record, folder: str) -> None:
    """Add a run to the history of the model in service, once.

    Args:
        connection: Of the ledger, within a transaction.
        record: The run's record.
        folder: Its folder, as it is stored; see `forgetmi.requests.run_folders`.
    """
    connection.execute(
        "INSERT OR IGNORE INTO runs (record, folder, at, before, after, verdict, gap, floor, auc_before, auc) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.digest,
            folder,
            record.written,
            record.model("before").weights,
            record.model("after").weights,
            record.decision.outcome,
            record.finding("unlearned", "gap"),
            record.finding("retrain", "gap_floor"),
            record.finding("original", "auc", on="test"),
            record.finding("unlearned", "auc", on="test"),
        ),
    )
