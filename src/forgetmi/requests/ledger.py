"""The ledger of withdrawals: one SQLite file of requests, keyed digests, deadlines, states, and runs that closed them.

Every change is one transaction that begins by taking the write lock, so that two processes at once lose nothing and a
killed one leaves nothing half-done. Raw identifiers are never stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.evidence.record import Record
from forgetmi.requests.closing import closing_faults, remarks
from forgetmi.requests.database import create
from forgetmi.requests.deadlines import Term
from forgetmi.requests.entries import (
    FINAL,
    Entry,
    NothingToUnlearn,
    Scope,
    State,
)
from forgetmi.requests.ledger_reader import LedgerReader
from forgetmi.requests.run_folders import stored_folder
from forgetmi.requests.stored_history import write_event, write_run
from forgetmi.requests.stored_results import write_results
from forgetmi.requests.stored_subjects import (
    write_absent,
    write_named,
    write_never_trained,
    write_readings,
)

logger = logging.getLogger(__name__)

LEDGER = Path("requests.sqlite")  # where it lies unless another place is named


class Ledger(LedgerReader):
    """A ledger file, and every change of it; see `LedgerReader` for what it is opened with and what is read of it."""

    @classmethod
    def make(cls, path: Path, *, key_id: str) -> Ledger:
        """The ledger of a file, which is made if it is missing.

        Args:
            path: SQLite file.
            key_id: Which identifier key its digests are made with.

        Raises:
            EvidenceError: As for `Ledger`, or it cannot be made.
        """
        create(path, key_id=key_id)
        return cls(path, key_id=key_id)

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block whose changes of the ledger are stored all together, or none of them where it raises.

        Nobody else can change the ledger meanwhile: keep the block short.
        """
        with self.database.transaction():
            yield

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
        readings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Entry:
        """Enter a request; one under legal hold waits on hold.

        Args:
            received, due, term, ground, scope: See `Entry`.
            patients, studies: Keyed digests, at least one.
            note: In words, without identifiers.
            readings: Of each of them, the digests of its other spellings.
        """
        if not patients and not studies:
            raise EvidenceError(
                Fault("the request names nobody", do="List at least one patient or study.")
            )
        # Data under legal hold must be kept for now
        state: State = "on_hold" if scope == "legal_hold" else "open"

        with self.database.transaction() as connection:
            number = connection.execute(
                "INSERT INTO requests (received, term, due, ground, scope, state) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (received.isoformat(), term, due.isoformat(), ground, scope, state),
            ).lastrowid
            assert number is not None

            # The same subject twice in one list counts once.
            subjects = [(number, "patient", digest) for digest in patients]
            subjects += [(number, "study", digest) for digest in studies]
            connection.executemany("INSERT OR IGNORE INTO subjects VALUES (?, ?, ?)", subjects)
            write_readings(connection, number, readings or {})
            write_event(connection, number, state, note)

        logger.info(
            "request entered: %d patients, %d studies, %s", len(patients), len(studies), state
        )
        return self.entries([number])[0]

    def process(
        self,
        entries: Sequence[Entry],
        *,
        write: Callable[[], None],
        never_trained: Mapping[int, Sequence[str]] | None = None,
        named: Mapping[int, Mapping[str, str]] | None = None,
        absent: Mapping[int, Sequence[str]] | None = None,
        cohort: str = "",
    ) -> int:
        """Mark requests as being carried out together, and write their forget list while nobody else can change them.

        Args:
            entries: The requests as they were when the list was gathered.
            write: Writes the list; where it raises, the ledger stays as it was.
            never_trained: Number to those of its subjects that no model was trained on; a record need not forget them.
            named: Number to the digests of its subjects as they were written, to those by which the cohort has them.
            absent: Number to those of its subjects whom the cohort does not have.
            cohort: Digest of that cohort.

        Returns:
            The number of the batch.

        Raises:
            EvidenceError: A request was changed since it was gathered.
        """
        if not entries:
            raise EvidenceError(Fault("no request is named", where=self.name))

        with self.database.transaction() as connection:
            # Under the write lock: from here on nobody else changes them
            self._refuse_changed(entries)
            batch = self.last_batch() + 1

            for entry in entries:
                number = entry.number
                connection.execute(
                    "UPDATE requests SET state = 'processing', batch = ? WHERE number = ?",
                    (batch, number),
                )

                # A request may be processed again, with another model in service.
                write_never_trained(connection, number, (never_trained or {}).get(number, ()))
                write_absent(connection, number, (absent or {}).get(number, ()), cohort)
                write_named(connection, number, (named or {}).get(number, {}))
                write_event(connection, number, "processing", f"forget list {batch}")

            # Last, so that the list is on disk only if everything before it succeeded.
            write()

        logger.info("batch %d begun: %d requests", batch, len(entries))
        return batch

    def close_without_run(self, nothing: Sequence[NothingToUnlearn], *, cohort: str) -> None:
        """Close requests of which nobody was trained on, with that reason.

        Args:
            nothing: The requests as they were when it was found out.
            cohort: Digest of the cohort by which it was found out.

        Raises:
            EvidenceError: A request was changed since.
        """
        with self.database.transaction() as connection:
            self._refuse_changed([one.entry for one in nothing])
            for one in nothing:
                number = one.entry.number
                connection.execute(
                    "UPDATE requests SET state = 'closed' WHERE number = ?", (number,)
                )
                write_never_trained(connection, number, one.never_trained)
                write_absent(connection, number, one.absent, cohort)
                write_named(connection, number, one.named)
                write_event(connection, number, "closed", one.reason)

        logger.info("%d requests closed without a run", len(nothing))

    def _refuse_changed(self, entries: Sequence[Entry]) -> None:
        """Refuse requests that another process took, closed or put on hold since they were read."""
        numbers = [entry.number for entry in entries]
        now = {entry.number: entry for entry in self.entries(numbers)}

        faults = []
        for entry in entries:
            current = now[entry.number]
            if (current.state, current.batch) != (entry.state, entry.batch):
                state = current.state.replace("_", " ")
                faults.append(
                    Fault(
                        f"{entry.name} was changed while the list was made",
                        where=self.name,
                        why=f"it is {state} now",
                        do="Nothing was written. See forgetmi requests list, then give the command again.",
                    )
                )
        if faults:
            raise EvidenceError(faults)

    def move(self, numbers: Sequence[int], state: State, *, note: str) -> None:
        """Set the state of requests by hand: refused, on hold, open again, or closed without a record.

        Raises:
            EvidenceError: There is no note, or a request is closed or refused already.
        """
        if not note:
            raise EvidenceError(
                Fault("a reason is missing", where="--note", do="Say why, without identifiers.")
            )

        with self.database.transaction() as connection:
            for entry in self._not_final(numbers):
                connection.execute(
                    "UPDATE requests SET state = ? WHERE number = ?", (state, entry.number)
                )
                write_event(connection, entry.number, state, note)

        logger.info("%d requests are %s now", len(numbers), state)

    def inform(self, numbers: Sequence[int], recipient: str, day: date) -> None:
        """Record that somebody who had the data or a model was informed of withdrawals (GDPR Art. 19).

        Args:
            numbers: The requests, in any state.
            recipient: Who, in words, without identifiers.
            day: When.
        """
        with self.database.transaction() as connection:
            for entry in self.entries(numbers):
                connection.execute(
                    "INSERT OR REPLACE INTO recipients VALUES (?, ?, ?)",
                    (entry.number, recipient, day.isoformat()),
                )
                note = f"informed on {day.isoformat()}: {recipient}"
                write_event(connection, entry.number, entry.state, note)

        logger.info("a recipient was informed of %d requests", len(numbers))

    def close_requests(
        self,
        numbers: Sequence[int],
        record: Record,
        *,
        folder: Path,
        note: str = "",
        accepted: str = "",
    ) -> dict[int, str]:
        """Close requests by the record of the run that carried them out.

        Args:
            numbers: The requests.
            record: The verified record.
            folder: The run's directory, from which a further withdrawal starts.
            note: Why the requests are closed all the same, where something speaks against it.
            accepted: Why a verdict that is not FORGOTTEN is acceptable, e.g. by a policy; the rest must hold.

        Returns:
            Remarks, by number of the request, on those that are not plainly carried out (somebody named there stands
            out singly, or is not part of the verdict).

        Raises:
            EvidenceError: The record forgets not all of them, or its verdict is about none of them; or it is older than
                a request, or its verdict is not FORGOTTEN, or somebody named was never trained on and the run does not
                start from the model in service, and no note says why the requests are closed all the same.
        """
        verdict = record.decision.outcome

        # Judged and closed in one step: nobody changes a request in between
        with self.database.transaction() as connection:
            entries = self._not_final(numbers)
            steps = self.steps()
            faults = closing_faults(entries, record, note=note, steps=steps, accepted=accepted)
            if faults:
                raise EvidenceError(faults)

            # The model after this run is the one in service now
            write_run(connection, record, stored_folder(folder, self.home))

            notes: dict[int, str] = {}
            for entry in entries:
                # What the verdict leaves out goes into the history, too
                lines = list(remarks(entry, record, steps=steps))
                if lines:
                    notes[entry.number] = "; ".join(lines)
                event = "; ".join([note or accepted or f"verdict {verdict}", *lines])

                connection.execute(
                    "UPDATE requests SET state = 'closed', record = ? WHERE number = ?",
                    (record.digest, entry.number),
                )
                write_event(connection, entry.number, "closed", event)

        logger.info("%d requests closed by a record, verdict %s", len(entries), verdict)
        return notes

    def keep_results(self, numbers: Sequence[int], record: Record, *, folder: Path) -> None:
        """Keep what a finished run found for requests that it may not close; their state stays as it is."""
        with self.database.transaction() as connection:
            write_results(connection, numbers, record, stored_folder(folder, self.home))

    def _not_final(self, numbers: Sequence[int]) -> list[Entry]:
        """The requests of these numbers, none of which may be closed or refused."""
        entries = self.entries(numbers) if numbers else []
        final = [entry for entry in entries if entry.state in FINAL]

        if final:
            raise EvidenceError(
                Fault(f"{entry.name} is {entry.state} already", where=self.name) for entry in final
            )
        return entries
