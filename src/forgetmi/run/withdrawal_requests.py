"""Which requests a withdrawal is about: those of its list, or of the ledger; nothing is entered yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from forgetmi.cohort.identifiers import load_key
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.requests.deadlines import Term, deadline
from forgetmi.requests.entries import Entry, Kind, Scope
from forgetmi.requests.grounds import ground_words
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.policy import PolicyFile
from forgetmi.requests.request_list import ListedRequest
from forgetmi.run.model_in_service import ModelInService
from forgetmi.run.spec import RunSpec


@dataclass(frozen=True)
class Asking:
    """What a withdrawal is asked to do.

    Args:
        model: The model in service.
        spec: The run, without who is forgotten, the given model and the request.
        who: List of those who withdraw; None = requests of the ledger.
        numbers: Of requests in the ledger; none = every open one.
        ledger: The ledger's file; None = none is kept.
        received: Day of receipt of what the list does not date.
        received_stated: Whether that day was stated; else it is today.
        term, days: What sets the deadline of what the list enters.
        ground: In words, of what the list gives no ground for.
        scope: Of what the list enters.
        sign_off, in_service: For the record; see `forgetmi.evidence.request.RequestSpec`.
        policy: What closes requests although the verdict is not FORGOTTEN; None = nothing.
    """

    model: ModelInService
    spec: RunSpec
    who: Path | None
    numbers: tuple[int, ...]
    ledger: Path | None
    received: date
    received_stated: bool
    term: Term
    days: int | None
    ground: str
    scope: Scope
    sign_off: str
    in_service: str
    policy: PolicyFile | None

    @property
    def key(self) -> bytes:
        """The identifier key."""
        return load_key(getattr(self.spec.cohort, "key_file", None))


def open_ledger(asking: Asking, cohort: Cohort) -> Ledger | None:
    """The ledger, only read; None = none is kept, or it is not made yet."""
    if asking.ledger is None:
        return None

    # A list makes one; requests by number need one that is there
    if not asking.ledger.exists() and asking.who is not None:
        return None
    return Ledger(asking.ledger, key_id=cohort.key_id, reading=True)


def requests_of_ledger(ledger: Ledger, numbers: Sequence[int]) -> list[Entry]:
    """Requests that are named, or every open one.

    Raises:
        EvidenceError: One of them cannot be carried out now, or none is open.
    """
    entries = ledger.entries(numbers) if numbers else ledger.entries(states=("open",))

    faults = [_not_open(entry) for entry in entries if entry.state != "open"]
    if not entries:
        faults = [Fault("no request is open", where="--ledger", do="See forgetmi requests list.")]
    if faults:
        raise EvidenceError(faults)
    return entries


def requests_of_list(
    asking: Asking, listed: Sequence[ListedRequest], ledger: Ledger | None
) -> tuple[list[Entry], list[bool]]:
    """Requests of a list: those that the ledger has already, and those that will be entered.

    Raises:
        EvidenceError: A day is none, or the same people's request is on its way already.
    """
    known = [] if ledger is None else ledger.entries()
    next_number = max((entry.number for entry in known), default=0) + 1

    entries: list[Entry] = []
    entered: list[bool] = []
    faults: list[Fault] = []
    for one in listed:
        # Given again, or while another run carries it out
        received = _received_of(asking, one)
        same = same_request(asking, one, received, known)
        if same is not None and same.state not in ("open", "closed"):
            faults.append(_not_open(same))
        if same is not None:
            entries.append(same)
            entered.append(True)
            continue

        # A new one, by the number that the ledger would give it
        entries.append(_entry_of(asking, one, received, next_number))
        entered.append(False)
        next_number += 1

    if faults:
        raise EvidenceError(faults)
    return entries, entered


def same_request(
    asking: Asking, listed: ListedRequest, received: date, known: Sequence[Entry]
) -> Entry | None:
    """The request of a ledger that names exactly the same people and came on the same day, where the day is stated."""
    stated = listed.received is not None or asking.received_stated
    named = {*listed.subjects.patients, *listed.subjects.studies}
    for entry in known:
        written = {digest for digests in entry.written.values() for digest in digests}
        same_day = entry.received == received or not stated
        if entry.state != "refused" and written == named and same_day:
            return entry
    return None


def _entry_of(asking: Asking, listed: ListedRequest, received: date, number: int) -> Entry:
    """A request that is not in the ledger yet."""
    subjects = listed.subjects
    return Entry(
        number=number,
        received=received,
        due=deadline(received, asking.term, days=asking.days),
        term=asking.term,
        ground=ground_words(listed.ground, asking.term) if listed.ground else asking.ground,
        scope=asking.scope,
        state="open",
        batch=None,
        record="",
        patients=subjects.patients,
        studies=subjects.studies,
        written={"patient": subjects.patients, "study": subjects.studies},
        readings=subjects.readings,
    )


def _not_open(entry: Entry) -> Fault:
    """Why a request cannot be carried out now, and what to do."""
    what = {
        "processing": f"is being carried out already (forget list {entry.batch})",
        "on_hold": "is on hold",
        "closed": "is closed",
        "refused": "is refused",
    }
    do = "See forgetmi requests list."
    if entry.state == "processing":
        do = (
            "Give the --out of its run, which goes on; or open it again: forgetmi requests close "
            f"{entry.name} --state open --note WHY."
        )
    if entry.state == "on_hold":
        do = f"When the hold ends: forgetmi requests close {entry.name} --state open --note WHY."
    return Fault(f"{entry.name} {what[entry.state]}", where="--ledger", do=do)


def kind_of_requests(entries: Sequence[Entry]) -> Kind:
    """Whether requests name patients or single studies.

    Raises:
        EvidenceError: Some name patients, others studies.
    """
    kinds: set[Kind] = {"patient" if entry.written.get("patient") else "study" for entry in entries}
    if len(kinds) > 1:
        raise EvidenceError(
            Fault(
                "some requests name patients, others single studies",
                why="one run forgets one kind",
                do="Name the requests of one kind with --requests, and the others in a run of their own.",
            )
        )
    return kinds.pop()


def _received_of(asking: Asking, listed: ListedRequest) -> date:
    """Day of receipt of one request of a list."""
    return asking.received if listed.received is None else listed.received
