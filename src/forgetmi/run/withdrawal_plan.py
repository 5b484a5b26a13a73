"""What a withdrawal will do, found out before anything is written: who is named, what can be shown, what it costs."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from forgetmi.audit.expectation import Expectation, expectation
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Cost
from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.core.partition import NEVER_SEEN, Partition
from forgetmi.evidence.request import RequestSpec, Withdrawal
from forgetmi.requests.deadlines import Term, deadline
from forgetmi.requests.entries import Entry, Kind, Scope
from forgetmi.requests.grounds import ground_words
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.policy import PolicyFile
from forgetmi.requests.processing import ForgetList, gather_entries
from forgetmi.requests.request_list import Asked, read_requests
from forgetmi.run.model_in_service import ModelInService, retraining_cost_of, standing
from forgetmi.run.run_data import divide, refuse_identifiers
from forgetmi.run.spec import RunSpec

FORGET_LIST = "forget_list.csv"


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


@dataclass(frozen=True)
class Plan:
    """What a withdrawal will do.

    Args:
        cohort: The cohort.
        kind: Patients or single studies.
        entries: The requests; those that are not in the ledger yet have numbers that may still change.
        asked: What the list says of each of them; empty for requests of the ledger.
        entered: Whether each is in the ledger.
        forget_list: Who is forgotten, who needs no unlearning, what is left out.
        notes: What else the user must know.
        expected: What the audit can show; None = there is nothing to unlearn.
        cost: Of one retraining, as recorded; None = unknown.
    """

    cohort: Cohort
    kind: Kind
    entries: tuple[Entry, ...]
    asked: tuple[Asked, ...]
    entered: tuple[bool, ...]
    forget_list: ForgetList
    notes: tuple[str, ...]
    expected: Expectation | None
    cost: Cost | None


def plan(asking: Asking) -> Plan:
    """Find out what a withdrawal will do; nothing is written.

    Raises:
        ForgetMIError: The list, the ledger, the cohort or the model cannot be used, or nothing can be carried out.
    """
    cohort = asking.spec.cohort.load()
    refuse_identifiers(_without_requests(asking), cohort)
    _refuse_identifiers_of_policy(asking, cohort)

    # Requests of the list, or of the ledger
    ledger = _open(asking, cohort)
    asked: tuple[Asked, ...] = ()
    if asking.who is not None:
        asked = read_requests(asking.who, Pseudonyms(asking.key), words=(asking.ground,))
        entries, entered = _of_list(asking, asked, ledger)
    else:
        assert ledger is not None
        entries = _of_ledger(ledger, asking.numbers)
        entered = [True] * len(entries)

    # What they are to the model
    kind = _kind_of(entries)
    of_subject = standing(asking.model, cohort, kind)
    waiting = [entry for entry in entries if entry.state == "open"]
    forget_list = gather_entries(waiting, cohort, kind=kind, standing=of_subject)
    notes = [] if ledger is None else _notes_of_ledger(asking, ledger)

    expected = None
    if forget_list.entries:
        partition = _divided(asking, cohort, forget_list)
        expected = _expectation(asking.spec, cohort, partition)
    if ledger is not None:
        ledger.close()

    return Plan(
        cohort=cohort,
        kind=kind,
        entries=tuple(entries),
        asked=asked,
        entered=tuple(entered),
        forget_list=forget_list,
        notes=tuple(notes),
        expected=expected,
        cost=retraining_cost_of(asking.model),
    )


def run_spec(asking: Asking, requests: Sequence[Withdrawal], forget_list: Path) -> RunSpec:
    """The run that carries requests out.

    Args:
        asking: What is asked for.
        requests: The requests, as the record names them.
        forget_list: Who is forgotten.
    """
    spec, model = asking.spec, asking.model
    received = min((one.received for one in requests if one.received), default="")
    dues = [one.due for one in requests if one.due]

    partition = replace(spec.partition, forget_list=forget_list, date=received)
    if model.unlearned:
        partition = replace(partition, after=model.partition)

    request = RequestSpec(
        id=",".join(one.number for one in requests if one.number),
        ground="; ".join(dict.fromkeys(one.ground for one in requests if one.ground)),
        scope=asking.scope,
        sign_off=asking.sign_off,
        due=min(dues, default=None),
        in_service=asking.in_service or None,
        each=tuple(requests) if len(requests) > 1 else (),
    )
    given = replace(spec.given, original=model.checkpoint)
    return replace(spec, partition=partition, request=request, given=given)


def withdrawal_of(entry: Entry, *, number: str) -> Withdrawal:
    """A request as the record names it."""
    return Withdrawal(number, entry.received.isoformat(), entry.due.isoformat(), entry.ground)


def received_of(asking: Asking, asked: Asked) -> date:
    """Day of receipt of one request of a list."""
    return asking.received if asked.received is None else asked.received


def _without_requests(asking: Asking) -> RunSpec:
    """The specification with the words that every request shares."""
    words = RequestSpec(ground=asking.ground, sign_off=asking.sign_off)
    return replace(asking.spec, request=words)


def _refuse_identifiers_of_policy(asking: Asking, cohort: Cohort) -> None:
    if asking.policy is None:
        return

    # The policy lies in the run as it is, so any word in it counts
    words = RequestSpec(ground=asking.policy.text)
    try:
        refuse_identifiers(replace(asking.spec, request=words), cohort)
    except SpecError:
        raise SpecError(
            Fault(
                "the policy holds the identifier of a patient of the cohort",
                where="--policy",
                why="it is kept in the run and its record",
                do="Name nobody in words.",
            )
        ) from None


def _open(asking: Asking, cohort: Cohort) -> Ledger | None:
    """The ledger, only read; None = none is kept, or it is not made yet."""
    if asking.ledger is None:
        return None
    if not asking.ledger.exists() and asking.who is not None:
        return None
    return Ledger(asking.ledger, key_id=cohort.key_id, reading=True)


def _of_ledger(ledger: Ledger, numbers: Sequence[int]) -> list[Entry]:
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


def _of_list(
    asking: Asking, asked: Sequence[Asked], ledger: Ledger | None
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
    for one in asked:
        received = received_of(asking, one)
        same = _same_request(asking, one, received, known)
        if same is not None and same.state not in ("open", "closed"):
            faults.append(_not_open(same))
        if same is not None:
            entries.append(same)
            entered.append(True)
            continue
        entries.append(_entry_of(asking, one, received, next_number))
        entered.append(False)
        next_number += 1

    if faults:
        raise EvidenceError(faults)
    return entries, entered


def _same_request(
    asking: Asking, asked: Asked, received: date, known: Sequence[Entry]
) -> Entry | None:
    """The request of a ledger that names exactly the same people and came on the same day, where the day is stated."""
    stated = asked.received is not None or asking.received_stated
    named = {*asked.subjects.patients, *asked.subjects.studies}
    for entry in known:
        written = {digest for digests in entry.written.values() for digest in digests}
        same_day = entry.received == received or not stated
        if entry.state != "refused" and written == named and same_day:
            return entry
    return None


def _entry_of(asking: Asking, asked: Asked, received: date, number: int) -> Entry:
    """A request that is not in the ledger yet."""
    subjects = asked.subjects
    return Entry(
        number=number,
        received=received,
        due=deadline(received, asking.term, days=asking.days),
        term=asking.term,
        ground=ground_words(asked.ground, asking.term) if asked.ground else asking.ground,
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


def _kind_of(entries: Sequence[Entry]) -> Kind:
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


def _notes_of_ledger(asking: Asking, ledger: Ledger) -> list[str]:
    """What the ledger says of the model."""
    steps = ledger.steps()
    if steps and steps[-1].after != asking.model.weights:
        return [
            "the model is not the one that the last request in the ledger left in service: requests that name "
            "somebody who was never trained on will need a note to be closed"
        ]
    return []


def _divided(asking: Asking, cohort: Cohort, forget_list: ForgetList) -> Partition:
    """Who will be in which set; refused as the run would."""
    with tempfile.TemporaryDirectory(prefix="forgetmi-") as folder:
        path = Path(folder) / FORGET_LIST
        forget_list.write(path)
        return divide(run_spec(asking, (), path), cohort)


def _expectation(spec: RunSpec, cohort: Cohort, partition: Partition) -> Expectation:
    """What the audit can show of those who are forgotten now."""
    from forgetmi.evaluation.matching import match
    from forgetmi.evaluation.patients import by_patient

    now = partition.of_request()
    never_rows = np.concatenate([now.rows(name) for name in NEVER_SEEN])
    effective = 0.0
    if len(never_rows):
        # As the verdict weights them: to the study counts and labels of the forgotten
        sides = []
        for rows in (now.forget, never_rows):
            sides.append(by_patient(now.patient[rows], cohort.study[rows], cohort.label[rows]))
        forgotten, never = sides
        effective = match(
            label=(forgotten.label, never.label), studies=(forgotten.studies, never.studies)
        ).effective

    return expectation(
        patients=len(np.unique(now.patient[now.forget])),
        never_seen=effective,
        retrained=spec.retrains + len(spec.given.retrained),
        rule=spec.audit.rule,
    )


def plain_expectation(plan: Plan) -> dict[str, object]:
    """What is stored of what was expected."""
    from forgetmi.audit.expectation import sentences

    assert plan.expected is not None
    return {
        **dataclasses.asdict(plan.expected),
        "sentences": sentences(plan.expected),
        "retraining": None if plan.cost is None else dataclasses.asdict(plan.cost),
    }
