"""What finished runs found for requests, whether or not a run's record closed them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from forgetmi.evidence.record import Record
from forgetmi.requests.damage import damaged


@dataclass(frozen=True)
class Result:
    """The last finished run that answers a request.

    Args:
        record: Digest of its record.
        folder: Its directory.
        verdict: Of the record.
    """

    record: str
    folder: str
    verdict: str


def write_results(
    connection: sqlite3.Connection, numbers: Sequence[int], record: Record, folder: str
) -> None:
    """Keep what a run found for some requests, once; no state changes by it.

    Args:
        connection: Of the ledger, within a transaction.
        numbers: The requests.
        record: Of the run.
        folder: The run's, as it is stored; see `forgetmi.requests.run_folders`.
    """
    for number in numbers:
        connection.execute(
            "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?)",
            (number, record.digest, folder, record.decision.outcome, record.written),
        )


def read_results(connection: sqlite3.Connection, *, where: str) -> dict[int, Result]:
    """Number of each request to its last result.

    Args:
        connection: Of the ledger.
        where: Name of the ledger's file.

    Raises:
        EvidenceError: A value is of another kind.
    """
    rows = connection.execute(
        "SELECT request, record, folder, verdict FROM results ORDER BY at, rowid"
    ).fetchall()

    # Later ones take the place of earlier ones
    results = {}
    for number, *values in rows:
        if type(number) is not int or not all(isinstance(value, str) for value in values):
            raise damaged(where, "a result is of another kind")
        results[number] = Result(*values)
    return results
