"""The ledger's SQLite file: its tables, how it is made and opened, and transactions that happen whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.partial_files import mode_of_new, remove_partials_of, unfinished_file
from forgetmi.core.regular_file import open_regular
from forgetmi.requests.damage import damaged
from forgetmi.requests.seals import broken_seals

FORMAT = 1
_SQLITE = b"SQLite format 3\0"  # how every such file begins
_FIRST_TABLES = {
    "ledger",
    "requests",
    "subjects",
    "events",
    "runs",
}  # of every ledger, also the oldest
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
CREATE TABLE IF NOT EXISTS absent (
    request INTEGER NOT NULL REFERENCES requests, digest TEXT NOT NULL, cohort TEXT NOT NULL,
    PRIMARY KEY (request, digest));
CREATE TABLE IF NOT EXISTS readings (
    request INTEGER NOT NULL REFERENCES requests, digest TEXT NOT NULL, rules TEXT NOT NULL, reading TEXT NOT NULL,
    PRIMARY KEY (request, digest, rules));
CREATE TABLE IF NOT EXISTS named (
    request INTEGER NOT NULL REFERENCES requests, digest TEXT NOT NULL, reading TEXT NOT NULL,
    PRIMARY KEY (request, digest));
CREATE TABLE IF NOT EXISTS recipients (
    request INTEGER NOT NULL REFERENCES requests, recipient TEXT NOT NULL, informed TEXT NOT NULL,
    PRIMARY KEY (request, recipient));
CREATE TABLE IF NOT EXISTS seals (request INTEGER PRIMARY KEY REFERENCES requests, digest TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS subjects_by_digest ON subjects (digest);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, request INTEGER NOT NULL REFERENCES requests, at TEXT NOT NULL, state TEXT NOT NULL,
    note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    request INTEGER NOT NULL REFERENCES requests, record TEXT NOT NULL, folder TEXT NOT NULL, verdict TEXT NOT NULL,
    at TEXT NOT NULL, PRIMARY KEY (request, record));
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, record TEXT NOT NULL UNIQUE, folder TEXT NOT NULL, at TEXT NOT NULL,
    before TEXT NOT NULL, after TEXT NOT NULL, verdict TEXT NOT NULL, gap REAL, floor REAL, auc_before REAL, auc REAL);
"""


def create(path: Path, *, key_id: str) -> bool:
    """Make a new ledger, whole or not at all.

    Args:
        path: Where; a file that is there already stays as it is.
        key_id: Which identifier key its digests are made with.

    Returns:
        Whether it was made; False = there was a file.

    Raises:
        EvidenceError: It cannot be written there.
    """
    # What a process left that was killed in the middle of this
    remove_partials_of(path)
    if path.exists():
        return False

    try:
        with unfinished_file(path) as unfinished:
            connection = sqlite3.connect(unfinished, isolation_level=None)
            with contextlib.closing(connection):
                # No second file beside it: a half-made one is thrown away
                connection.execute("PRAGMA journal_mode = MEMORY")
                _make_tables(connection)
                connection.execute("INSERT INTO ledger VALUES (?, ?)", (FORMAT, key_id))

            # As readable as any new file; a link, unlike a rename, leaves the ledger of a faster process alone.
            os.chmod(unfinished, mode_of_new(0o666))
            try:
                os.link(unfinished, path)
            except FileExistsError:
                return False
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path.name, _reason(error)) from None
    return True


# What SQLite raises on a damaged file; its own message may name a table in bytes that are no text
_DAMAGED = (sqlite3.DatabaseError, UnicodeDecodeError)


class Database:
    """One SQLite file that is a ledger.

    Args:
        path: The file.
        reading: Whether it is only read: nothing is written then.

    Raises:
        EvidenceError: It is missing, empty, damaged, no ledger, or cannot be opened.
    """

    def __init__(self, path: Path, *, reading: bool) -> None:
        self._name = path.name
        _refuse_other_files(path)

        try:
            self.connection = _open_to_read(path) if reading else _open_to_change(path)
        except sqlite3.OperationalError as error:
            raise _unusable(self._name, str(error)) from None
        except _DAMAGED as error:
            raise damaged(self._name, str(error)) from None

        try:
            self._check()

            # Ledgers of earlier versions lack some tables; where it is only read, empty ones stand in.
            if reading:
                _make_tables(self.connection, temporary=True)
            else:
                self._add_missing_tables()

            with self.reading() as connection:
                broken = broken_seals(connection)
            if broken:
                raise damaged(self._name, f"{len(broken)} requests are not as they were entered")
        except _DAMAGED as error:
            self.connection.close()
            raise damaged(self._name, str(error)) from None
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A block whose changes are stored all together, or not at all where it raises.

        Within another such block it is a part of that one.

        Raises:
            EvidenceError: SQLite cannot carry it out.
        """
        if self.connection.in_transaction:
            yield self.connection
            return

        try:
            # The write lock comes first: what the block reads cannot change before it writes.
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise _unusable(self._name, str(error)) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A block that only reads, and sees one state of the file, whatever others write meanwhile.

        Raises:
            EvidenceError: SQLite cannot read it: the file is damaged, or a table has other columns.
        """
        try:
            # Within a transaction that is so already
            if self.connection.in_transaction:
                yield self.connection
                return

            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                self.connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise damaged(self._name, str(error)) from None

    def _add_missing_tables(self) -> None:
        """Bring a ledger of an earlier version up to this one, whole or not at all; a process at once finds it done."""
        if not _missing_tables(self.connection):
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            _make_tables(self.connection)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def _check(self) -> None:
        """Refuse other people's databases, damaged ledgers, and those of another version."""
        tables = {name for (name,) in self.connection.execute("SELECT name FROM sqlite_master")}
        if not tables >= _FIRST_TABLES:
            raise _no_ledger(self._name, "it is a database without a ledger's tables")

        findings = self.connection.execute("PRAGMA quick_check").fetchall()
        if findings != [("ok",)]:
            raise damaged(self._name, "SQLite's own check fails")

        rows = self.connection.execute("SELECT format, key_id FROM ledger").fetchall()
        if len(rows) != 1:
            raise damaged(self._name, "it does not say which key it belongs to")
        if rows[0][0] != FORMAT:
            raise EvidenceError(
                Fault(
                    "the ledger has another format",
                    where=self._name,
                    why=f"this version reads ledger format {FORMAT}",
                    do="Use the version of forgetmi that wrote it.",
                )
            )


def _make_tables(connection: sqlite3.Connection, *, temporary: bool = False) -> None:
    """Add the tables that are missing."""
    for statement in _missing_tables(connection):
        if temporary:
            if statement.split()[1] == "INDEX":
                continue
            statement = statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1)
        connection.execute(statement)


def _missing_tables(connection: sqlite3.Connection) -> list[str]:
    """The statements that make the tables and indices which are not there yet."""
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}

    missing = []
    for statement in _TABLES.split(";"):
        words = statement.split()
        if words and words[5] not in present:
            missing.append(statement)
    return missing


def _refuse_other_files(path: Path) -> None:
    """Refuse what is missing or no SQLite file, before SQLite could make one of it."""
    try:
        with open_regular(path) as file:
            start = file.read(len(_SQLITE))
    except FileNotFoundError:
        raise EvidenceError(
            Fault(
                "there is no ledger",
                where=path.name,
                do="Enter a first request with forgetmi requests add, or check --ledger.",
            )
        ) from None
    except OSError as error:
        raise _unusable(path.name, _reason(error)) from None

    if not start:
        raise _no_ledger(path.name, "the file is empty")
    if start != _SQLITE:
        raise _no_ledger(path.name, "it is no SQLite file")


def _open_to_change(path: Path) -> sqlite3.Connection:
    # As an address, so that ? and # in a path are part of it, and no file is made
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT, isolation_level=None
    )

    # Everything in one file, so that a copy of it is whole (earlier versions kept a log next to it);
    # FULL: a commit survives a loss of power.
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _open_to_read(path: Path) -> sqlite3.Connection:
    # What a killed process had begun is undone first, or this version of the file would not be a whole one
    if path.with_name(f"{path.name}-journal").exists():
        with contextlib.closing(_open_to_change(path)) as connection:
            connection.execute("SELECT COUNT(*) FROM sqlite_master")

    address = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=_WAIT, isolation_level=None)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


def _unusable(name: str, reason: str) -> EvidenceError:
    return EvidenceError(
        Fault(
            "the ledger cannot be used",
            where=name,
            why=reason,
            do="Give a ledger's file, on a local disk in a folder you can write to.",
        )
    )


def _no_ledger(name: str, reason: str) -> EvidenceError:
    return EvidenceError(
        Fault(
            "this is no ledger",
            where=name,
            why=reason,
            do="Check --ledger. If a ledger was there before, restore it from a backup: its requests are still due.",
        )
    )
