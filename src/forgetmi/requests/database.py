"""The ledger's SQLite file: its tables, how it is opened, and transactions that happen whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgetmi.core.errors import EvidenceError, Fault

FORMAT = 1
_WAIT = 30.0  # seconds for another process's transaction

_TABLES = """
CREATE TABLE IF NOT EXISTS ledger (format INTEGER NOT NULL, key_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    number INTEGER PRIMARY KEY, received TEXT NOT NULL, term TEXT NOT NULL, due TEXT NOT NULL, ground TEXT NOT NULL,
    scope TEXT NOT NULL, state TEXT NOT NULL, batch INTEGER, record TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS subjects (
    request INTEGER NOT NULL REFERENCES requests, kind TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (request, kind, digest));
CREATE TABLE IF NOT EXISTS never_trained (
    request INTEGER NOT NULL REFERENCES requests, digest TEXT NOT NULL, PRIMARY KEY (request, digest));
CREATE TABLE IF NOT EXISTS readings (
    request INTEGER NOT NULL REFERENCES requests, digest TEXT NOT NULL, rules TEXT NOT NULL, reading TEXT NOT NULL,
    PRIMARY KEY (request, digest, rules));
CREATE TABLE IF NOT EXISTS named (
    request INTEGER NOT NULL REFERENCES requests, digest TEXT NOT NULL, reading TEXT NOT NULL,
    PRIMARY KEY (request, digest));
CREATE INDEX IF NOT EXISTS subjects_by_digest ON subjects (digest);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, request INTEGER NOT NULL REFERENCES requests, at TEXT NOT NULL, state TEXT NOT NULL,
    note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, record TEXT NOT NULL UNIQUE, folder TEXT NOT NULL, at TEXT NOT NULL,
    before TEXT NOT NULL, after TEXT NOT NULL, verdict TEXT NOT NULL, gap REAL, floor REAL, auc_before REAL, auc REAL);
"""


class Database:
    """One SQLite file with the ledger's tables.

    Args:
        path: The file; SQLite makes it if it is missing.

    Raises:
        EvidenceError: It is no SQLite file, or cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        _check_file(path)
        try:
            self.connection = _connect(path)
            foreign = _is_foreign(self.connection)
        except (sqlite3.Error, OverflowError) as error:
            raise _unusable(self._name, str(error)) from None
        if foreign:
            self.connection.close()
            raise _unusable(self._name, "it is a database of something else")

        with self.transaction() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A block whose changes are stored all together, or not at all where it raises.

        Raises:
            EvidenceError: SQLite cannot carry it out.
        """
        try:
            # The write lock comes first: what the block reads cannot change before it writes.
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:
            raise _unusable(self._name, str(error)) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A block that only reads.

        Raises:
            EvidenceError: SQLite cannot read it: the file is damaged, or a table has other columns.
        """
        try:
            yield self.connection
        except (sqlite3.Error, OverflowError) as error:
            raise _unusable(self._name, str(error)) from None


def _check_file(path: Path) -> None:
    """Refuse what SQLite would wait for, or could not open.

    Raises:
        EvidenceError: The path is there, and no file.
    """
    try:
        is_other = path.exists() and not path.is_file()
    except (OSError, ValueError) as error:
        raise _unusable(path.name, type(error).__name__) from None
    if is_other:
        raise _unusable(path.name, "it is a folder, a pipe or a device")


def _is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether a database has tables, but not the ledger's: nothing is added to the files of other programs."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    return bool(tables) and "ledger" not in tables


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)

    # Write-ahead log: readers and one writer at once; FULL: a commit survives a loss of power.
    connection.execute(f"PRAGMA busy_timeout = {int(_WAIT * 1000)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _unusable(name: str, why: str) -> EvidenceError:
    return EvidenceError(
        Fault(
            "the ledger cannot be used",
            where=name,
            why=why,
            do="Give a ledger's file, on a local disk in a folder you can write to.",
        )
    )
