"""A digest of every request in the ledger, by which damage is noticed that SQLite's own check does not see."""

from __future__ import annotations

import hashlib
import sqlite3

# Tables that hold a request, and the column with its number.
_TABLES = {
    "requests": "number",
    "subjects": "request",
    "never_trained": "request",
    "absent": "request",
    "readings": "request",
    "named": "request",
    "recipients": "request",
    "events": "request",
}


def write_seal(connection: sqlite3.Connection, number: int) -> None:
    """Store the digest of a request as it is now; the last step of every change of it."""
    digest = _digests(connection, number).get(number, "")
    connection.execute("INSERT OR REPLACE INTO seals VALUES (?, ?)", (number, digest))


def broken_seals(connection: sqlite3.Connection) -> list[int]:
    """Numbers of requests that are not as they were stored; one entered before there were seals has none.

    Args:
        connection: Of the ledger.
    """
    now = _digests(connection)
    stored = connection.execute("SELECT request, digest FROM seals").fetchall()
    return sorted(number for number, digest in stored if now.get(number, "") != digest)


def _digests(connection: sqlite3.Connection, number: int | None = None) -> dict[int, str]:
    """SHA-256 over all rows of each request, or of one."""
    hashes: dict[int, hashlib._Hash] = {}
    for table, column in _TABLES.items():
        where, values = ("", ()) if number is None else (f"WHERE {column} = ?", (number,))
        rows = connection.execute(
            f"SELECT {column}, * FROM {table} {where} ORDER BY {column}, rowid", values
        )
        for request, *cells in rows:
            text = f"{table} {cells!r}\n"
            hashes.setdefault(request, hashlib.sha256()).update(text.encode("utf-8", "replace"))

    return {request: digest.hexdigest() for request, digest in hashes.items()}
