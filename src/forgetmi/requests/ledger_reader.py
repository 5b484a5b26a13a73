"""What a ledger of withdrawals says: its requests, their history, and the runs that were recorded in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.printable import quoted
from forgetmi.requests.database import Database
from forgetmi.requests.entries import STATES, Entry, State, Step
from forgetmi.requests.run_folders import found_folder, home_of
from forgetmi.requests.stored_requests import REQUEST_COLUMNS, RUN_COLUMNS, entry_of, step_of
from forgetmi.requests.stored_results import Result, read_results
from forgetmi.requests.stored_subjects import StoredSubjects, read_stored


class LedgerReader:
    """A ledger file, as it is read; see `forgetmi.requests.ledger.Ledger` for its changes.

    Args:
        path: SQLite file; there must be one.
        key_id: Which identifier key its digests must be made with; "" = any.
        reading: Whether the file is opened for reading alone.

    Raises:
        EvidenceError: The file is missing, no ledger, damaged, or belongs to another key.
    """

    def __init__(self, path: Path, *, key_id: str = "", reading: bool = False) -> None:
        self.name = path.name
        self.home = home_of(path)
        self.database = Database(path, reading=reading)

        if key_id:
            self.check_key(key_id)

    @property
    def key_id(self) -> str:
        """Which identifier key its digests are made with."""
        return self.database.connection.execute("SELECT key_id FROM ledger").fetchone()[0]

    def check_key(self, key_id: str) -> None:
        """Refuse another identifier key than the one its digests are made with; the file is closed then."""
        stored = self.key_id
        if stored != key_id:
            self.close()
            raise EvidenceError(
                Fault(
                    "the ledger was made with another identifier key",
                    where=self.name,
                    why=f"its key is {quoted(stored)}, yours is {key_id}",
                    do="Give its key with --key-file.",
                )
            )

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def entries(
        self, numbers: Sequence[int] = (), *, states: Sequence[State] = STATES
    ) -> list[Entry]:
        """Requests by deadline.

        Args:
            numbers: Of the requests wanted; none = all.
            states: Only requests in one of these.

        Raises:
            EvidenceError: A number is unknown.
        """
        with self.database.reading() as connection:
            rows = connection.execute(
                f"SELECT {REQUEST_COLUMNS} FROM requests ORDER BY due, number"
            ).fetchall()
            subjects = read_stored(connection, where=self.name)

        # A number that was mistyped is told, not passed over
        unknown = set(numbers) - {row[0] for row in rows}
        if unknown:
            raise EvidenceError(
                Fault(f"there is no request R{number:04}", where=self.name)
                for number in sorted(unknown)
            )

        entries = []
        for row in rows:
            entry = entry_of(row, subjects.get(row[0], StoredSubjects()), where=self.name)
            if entry.state in states and (not numbers or entry.number in numbers):
                entries.append(entry)
        return entries

    def twins(self, entry: Entry) -> list[Entry]:
        """Other requests, not refused, that name one of the same subjects, or one in another spelling."""
        twins = []
        for other in self.entries():
            is_other = other.number != entry.number and other.state != "refused"
            if is_other and (other.subjects & entry.subjects or other.alike & entry.alike):
                twins.append(other)
        return twins

    def last_batch(self) -> int:
        """Number of the last forget list; 0 = none was made yet."""
        with self.database.reading() as connection:
            return connection.execute("SELECT MAX(batch) FROM requests").fetchone()[0] or 0

    def open_patients(self) -> set[str]:
        """Keyed digests of the patients whom open requests name."""
        patients: set[str] = set()
        for entry in self.entries(states=("open",)):
            patients.update(entry.patients)
        return patients

    def history(self, number: int) -> list[tuple[str, str, str]]:
        """Day and time, state and note of each change of a request."""
        with self.database.reading() as connection:
            return connection.execute(
                "SELECT at, state, note FROM events WHERE request = ? ORDER BY number", (number,)
            ).fetchall()

    def results(self) -> dict[int, Result]:
        """Number of each request to what the last finished run found for it, where one was kept."""
        with self.database.reading() as connection:
            stored = read_results(connection, where=self.name)

        results = {}
        for number, result in stored.items():
            results[number] = replace(result, folder=found_folder(result.folder, self.home))
        return results

    def steps(self) -> list[Step]:
        """The runs in the order they were recorded: the history of the model in service."""
        with self.database.reading() as connection:
            # Which requests each record closed.
            closed: dict[str, list[int]] = {}
            for number, record in connection.execute(
                "SELECT number, record FROM requests ORDER BY number"
            ):
                closed.setdefault(record, []).append(number)

            rows = connection.execute(f"SELECT {RUN_COLUMNS} FROM runs ORDER BY number").fetchall()

        # Runs that were moved together with the ledger lie where they lay, seen from it
        steps = []
        for row in rows:
            step = step_of(row, closed.get(row[0], ()), where=self.name)
            steps.append(replace(step, folder=found_folder(step.folder, self.home)))
        return steps
