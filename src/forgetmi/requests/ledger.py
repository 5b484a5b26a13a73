"""The ledger of withdrawals: one SQLite file of requests, keyed digests, deadlines, states, and the runs that met them.

Every change is one transaction that begins by taking the write lock, so that two processes at once lose nothing and a
killed one leaves nothing half-done. Raw identifiers are never stored.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.requests.closing import remarks, unmet
from forgetmi.requests.deadlines import Term
from forgetmi.requests.entries import FINAL, STATES, Entry, Kind, Scope, State, Step

if TYPE_CHECKING:  # a ledger is opened in a moment, a record brings the whole package
    from forgetmi.evidence.record import Record

LEDGER = Path("requests.sqlite")  # where it lies unless another place is named
WAIT = 30.0  # seconds for another process's transaction

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
CREATE INDEX IF NOT EXISTS subjects_by_digest ON subjects (digest);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, request INTEGER NOT NULL REFERENCES requests, at TEXT NOT NULL, state TEXT NOT NULL,
    note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, record TEXT NOT NULL UNIQUE, folder TEXT NOT NULL, at TEXT NOT NULL,
    before TEXT NOT NULL, after TEXT NOT NULL, verdict TEXT NOT NULL, gap REAL, floor REAL, auc_before REAL, auc REAL);
"""
_FORMAT = 1


class Ledger:
    """A ledger file.

    Args:
        path: SQLite file; made if it is missing and a key is given.
        key_id: Which identifier key its digests are made with; "" = only look at what is there, or change its states.

    Raises:
        EvidenceError: The file is no ledger, or belongs to another key.
    """

    def __init__(self, path: Path, *, key_id: str = "") -> None:
        self._name = path.name
        if not key_id and not path.exists():
            raise EvidenceError(
                Fault(
                    "there is no ledger",
                    where=path.name,
                    do="Enter a first request with forgetmi requests add, or check --ledger.",
                )
            )
        try:
            self._database = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
            self._database.execute(f"PRAGMA busy_timeout = {int(WAIT * 1000)}")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as error:
            raise self._unreadable(error) from None
        with self._transaction() as database:
            for statement in _TABLES.split(";"):
                database.execute(statement)
            found = database.execute("SELECT format, key_id FROM ledger").fetchone()
            if found is None and key_id:
                database.execute("INSERT INTO ledger VALUES (?, ?)", (_FORMAT, key_id))
        if found is not None and key_id and found != (_FORMAT, key_id):
            raise EvidenceError(
                Fault(
                    "the ledger was made with another identifier key",
                    where=self._name,
                    why=f"its key is {found[1]}, yours is {key_id}",
                    do="Give its key with --key-file.",
                )
            )

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def _unreadable(self, error: sqlite3.Error) -> EvidenceError:
        return EvidenceError(
            Fault(
                "the ledger cannot be used",
                where=self._name,
                why=str(error),
                do="Give a ledger's file, on a local disk in a folder you can write to.",
            )
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def add(
        self,
        *,
        received: date,
        due: date,
        term: Term,
        ground: str,
        scope: Scope,
        patients: Sequence[str] = (),
        studies: Sequence[str] = (),
        note: str = "",
    ) -> Entry:
        """Enter a request; one under legal hold waits on hold.

        Args:
            received, due, term, ground, scope: See `Entry`.
            patients, studies: Keyed digests, at least one.
            note: In words, without identifiers.
        """
        if not patients and not studies:
            raise EvidenceError(
                Fault("the request names nobody", do="List at least one patient or study.")
            )
        state: State = "on_hold" if scope == "legal_hold" else "open"
        with self._transaction() as database:
            number = database.execute(
                "INSERT INTO requests (received, term, due, ground, scope, state) VALUES (?, ?, ?, ?, ?, ?)",
                (received.isoformat(), term, due.isoformat(), ground, scope, state),
            ).lastrowid
            assert number is not None
            kinds: tuple[tuple[Kind, Sequence[str]], ...] = (
                ("patient", patients),
                ("study", studies),
            )
            for kind, digests in kinds:
                database.executemany(
                    "INSERT OR IGNORE INTO subjects VALUES (?, ?, ?)",
                    [(number, kind, digest) for digest in digests],
                )
            self._event(number, state, note)
        return self.entries([number])[0]

    def _event(self, number: int, state: State, note: str) -> None:
        self._database.execute(
            "INSERT INTO events (request, at, state, note) VALUES (?, ?, ?, ?)",
            (number, datetime.now(UTC).isoformat(timespec="seconds"), state, note),
        )

    def entries(
        self, numbers: Sequence[int] = (), *, states: Sequence[State] = STATES
    ) -> list[Entry]:
        """Requests by deadline; all of them, or those asked for.

        Raises:
            EvidenceError: A number is unknown.
        """
        rows = self._database.execute(
            "SELECT number, received, due, term, ground, scope, state, batch, record "
            "FROM requests ORDER BY due, number"
        ).fetchall()
        subjects: dict[int, dict[str, list[str]]] = {}
        for request, kind, digest in self._database.execute(
            "SELECT * FROM subjects ORDER BY rowid"
        ):
            subjects.setdefault(request, {"patient": [], "study": [], "never": []})[kind].append(
                digest
            )
        for request, digest in self._database.execute("SELECT * FROM never_trained ORDER BY rowid"):
            subjects[request]["never"].append(digest)
        if unknown := sorted(set(numbers) - {row[0] for row in rows}):
            raise EvidenceError(
                Fault(f"there is no request R{number:04}", where=self._name) for number in unknown
            )
        return [
            Entry(
                row[0],
                date.fromisoformat(row[1]),
                date.fromisoformat(row[2]),
                *row[3:],
                patients=tuple(subjects[row[0]]["patient"]),
                studies=tuple(subjects[row[0]]["study"]),
                never_trained=tuple(subjects[row[0]]["never"]),
            )
            for row in rows
            if row[6] in states and (not numbers or row[0] in numbers)
        ]

    def twins(self, entry: Entry) -> list[Entry]:
        """Other requests, not refused, that name one of the same subjects."""
        own = {*entry.patients, *entry.studies}
        return [
            one
            for one in self.entries()
            if one.number != entry.number
            and one.state != "refused"
            and own & {*one.patients, *one.studies}
        ]

    def history(self, number: int) -> list[tuple[str, str, str]]:
        """Day and time, state and note of each change of a request."""
        return self._database.execute(
            "SELECT at, state, note FROM events WHERE request = ? ORDER BY number", (number,)
        ).fetchall()

    def process(
        self, numbers: Sequence[int], *, never_trained: Mapping[int, Sequence[str]] | None = None
    ) -> int:
        """Mark requests as being carried out together; returns the number of the batch.

        Args:
            numbers: The requests.
            never_trained: Number to those of its subjects whom no model was trained on; a record need not forget them.
        """
        with self._transaction() as database:
            batch = 1 + (database.execute("SELECT MAX(batch) FROM requests").fetchone()[0] or 0)
            for entry in self._movable(numbers):
                database.execute(
                    "UPDATE requests SET state = 'processing', batch = ? WHERE number = ?",
                    (batch, entry.number),
                )
                database.execute("DELETE FROM never_trained WHERE request = ?", (entry.number,))
                database.executemany(
                    "INSERT INTO never_trained VALUES (?, ?)",
                    [
                        (entry.number, digest)
                        for digest in (never_trained or {}).get(entry.number, ())
                    ],
                )
                self._event(entry.number, "processing", f"forget list {batch}")
        return batch

    def move(self, numbers: Sequence[int], state: State, *, note: str) -> None:
        """Set the state of requests by hand: refused, on hold, open again, or closed without a record.

        Raises:
            EvidenceError: There is no note, or a request is closed or refused already.
        """
        if not note:
            raise EvidenceError(
                Fault("a reason is missing", where="--note", do="Say why, without identifiers.")
            )
        with self._transaction() as database:
            for entry in self._movable(numbers):
                database.execute(
                    "UPDATE requests SET state = ? WHERE number = ?", (state, entry.number)
                )
                self._event(entry.number, state, note)

    def meet(
        self, numbers: Sequence[int], record: Record, *, folder: Path, note: str = ""
    ) -> dict[int, str]:
        """Close requests by the record of the run that carried them out.

        Returns:
            Numbers of the requests that are not plainly met (somebody named there stands out singly, or is not part of
            the verdict) to what their notes say of it.

        Raises:
            EvidenceError: The record forgets not all of them, or its verdict is about none of them; or it is older than
                a request, or its verdict is not FORGOTTEN, or somebody named was never trained on and the run does not
                start from the model in service, and no note says why the requests are closed all the same.
        """
        verdict = record.decision.outcome
        with self._transaction() as database:
            entries = self._movable(numbers)
            if wrong := unmet(entries, record, note=note, steps=self.steps()):
                raise EvidenceError(wrong)
            said = {
                entry.number: "; ".join(lines)
                for entry in entries
                if (lines := [*remarks(entry, record)])
            }
            found = [
                record.finding(*place) for place in (("unlearned", "gap"), ("retrain", "gap_floor"))
            ]
            auc = [record.finding(model, "auc", on="test") for model in ("original", "unlearned")]
            database.execute(
                "INSERT OR IGNORE INTO runs (record, folder, at, before, after, verdict, gap, floor, auc_before, auc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.digest,
                    str(folder),
                    record.written,
                    record.model("before").weights,
                    record.model("after").weights,
                    verdict,
                    *found,
                    *auc,
                ),
            )
            for entry in entries:
                database.execute(
                    "UPDATE requests SET state = 'closed', record = ? WHERE number = ?",
                    (record.digest, entry.number),
                )
                self._event(
                    entry.number,
                    "closed",
                    "; ".join(filter(None, (note or f"verdict {verdict}", said.get(entry.number)))),
                )
        return said

    def _movable(self, numbers: Sequence[int]) -> list[Entry]:
        entries = self.entries(numbers) if numbers else []
        if faults := [
            Fault(f"{entry.name} is {entry.state} already", where=self._name)
            for entry in entries
            if entry.state in FINAL
        ]:
            raise EvidenceError(faults)
        return entries

    def steps(self) -> list[Step]:
        """The runs in the order they were recorded: the history of the model in service."""
        met: dict[str, list[int]] = {}
        for number, record in self._database.execute(
            "SELECT number, record FROM requests ORDER BY number"
        ):
            met.setdefault(record, []).append(number)
        rows = self._database.execute(
            "SELECT record, folder, at, before, after, verdict, gap, floor, auc_before, auc "
            "FROM runs ORDER BY number"
        ).fetchall()
        return [Step(*row, requests=tuple(met.get(row[0], ()))) for row in rows]
