"""Carries a withdrawal out, from the list to closed requests; an interrupted one goes on where it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.evidence.record import Record
from forgetmi.evidence.verify import verify
from forgetmi.requests.database import create
from forgetmi.requests.entries import FINAL, Entry
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.processing import ForgetList, gather_entries
from forgetmi.requests.request_list import read_requests
from forgetmi.run.directory import RunDirectory
from forgetmi.run.model_in_service import standing
from forgetmi.run.spec import RunSpec
from forgetmi.run.withdrawal_files import (
    FORMAT,
    StoredRequest,
    StoredWithdrawal,
    begun,
    digest_of,
    list_text,
    read_withdrawal,
    subjects_as_written,
    write_withdrawal,
)
from forgetmi.run.withdrawal_plan import (
    FORGET_LIST,
    Plan,
    plain_expectation,
    run_spec,
    withdrawal_of,
)
from forgetmi.run.withdrawal_requests import Asking, same_request


@dataclass(frozen=True)
class ClosedRequest:
    """What became of one request.

    Args:
        name: Its number as people write it, or the list's own; "" = it has none.
        state: In the ledger afterwards; "" = there is no ledger.
        why: Why it is closed or not, and remarks, in words.
    """

    name: str
    state: str
    why: str


def stored_withdrawal(asking: Asking, directory: RunDirectory) -> StoredWithdrawal | None:
    """The withdrawal that a folder holds and that goes on with the same words; None = it has not begun there.

    Raises:
        ForgetMIError: It is another one, or the ledger does not know it.
    """
    stored = read_withdrawal(directory.root)
    if stored is None:
        return None

    # Interrupted before the ledger took it: begun again
    if stored.batch and not _known_to_ledger(asking, stored):
        if not begun(directory):
            return None
        raise EvidenceError(
            Fault(
                "the ledger does not know the forget list of this run",
                where=directory.root.name,
                why=f"forget list {stored.batch} is not there, or has other requests",
                do="Check --ledger, or restore it from a backup.",
            )
        )

    faults = _other_words(asking, stored)
    if faults:
        raise SpecError(faults)
    return stored


def begin(asking: Asking, plan: Plan, directory: RunDirectory) -> StoredWithdrawal | None:
    """Enter the requests, close those with nothing to unlearn, and take the folder for the others.

    All of it happens, or none: ledger and folder change together.

    Returns:
        What the run carries out; None = nobody was trained on, and there is no run.
    """
    with contextlib.ExitStack() as stack:
        if plan.forget_list.entries:
            stack.enter_context(directory.lock())
        if asking.ledger is None:
            return _written(asking, plan, directory, plan.entries, plan.forget_list, batch=0)

        # A first request makes the ledger
        create(asking.ledger, key_id=plan.cohort.key_id)
        ledger = Ledger(asking.ledger, key_id=plan.cohort.key_id)
        stack.callback(ledger.close)
        stack.enter_context(ledger.together())
        return _entered(asking, plan, directory, ledger)


def close(
    asking: Asking, stored: StoredWithdrawal, directory: RunDirectory
) -> tuple[Record, str, list[ClosedRequest]]:
    """Close what the record of a finished run closes.

    Returns:
        The record; why the policy accepts its verdict, in words ("" = it does not); and what became of each request.
    """
    record = verify(directory.root).record
    accepted = _accepted(asking, record)
    if asking.ledger is None:
        return record, accepted, [_without_ledger(one) for one in stored.requests]

    ledger = Ledger(asking.ledger, key_id=record.subjects.key_id)
    with contextlib.closing(ledger):
        # Shown in the queue, also where the record closes nothing
        ledger.keep_results(stored.numbers, record, folder=directory.root)

        outcomes = []
        for entry in ledger.entries(stored.numbers):
            outcomes.append(_close_one(ledger, entry, record, directory, accepted=accepted))
    return record, accepted, outcomes


def spec_of_withdrawal(asking: Asking, stored: StoredWithdrawal, root: Path) -> RunSpec:
    """The run of a withdrawal that has begun."""
    return run_spec(asking, [one.request for one in stored.requests], root / FORGET_LIST)


def _entered(
    asking: Asking, plan: Plan, directory: RunDirectory, ledger: Ledger
) -> StoredWithdrawal | None:
    """Enter what is not in the ledger yet, and write list and folder under its lock."""
    entries: list[Entry] = []
    for position, (entry, entered) in enumerate(zip(plan.entries, plan.entered, strict=True)):
        if entered:
            entries.append(entry)
            continue
        _refuse_entered_meanwhile(asking, plan, position, ledger)
        reference = plan.listed[position].reference
        added = ledger.add(
            received=entry.received,
            due=entry.due,
            term=asking.term,
            ground=entry.ground,
            scope=asking.scope,
            patients=entry.patients,
            studies=entry.studies,
            note=f"number in the list: {reference}" if reference else "",
            readings=entry.readings,
        )
        entries.append(added)

    # By the numbers that the ledger gave
    waiting = [entry for entry in entries if entry.state == "open"]
    of_subject = standing(asking.model, asking.spec, plan.cohort, plan.kind)
    forget_list = gather_entries(waiting, plan.cohort, kind=plan.kind, standing=of_subject)
    ledger.close_without_run(forget_list.nothing, cohort=forget_list.cohort)
    if not forget_list.entries:
        return None

    stored: list[StoredWithdrawal] = []

    def write(batch: int) -> None:
        stored.append(_written(asking, plan, directory, entries, forget_list, batch=batch))

    ledger.process(
        forget_list.entries,
        write=lambda: write(ledger.last_batch()),
        never_trained=forget_list.never_trained,
        named=forget_list.named,
        absent=forget_list.absent,
        cohort=forget_list.cohort,
    )
    return stored[0]


def _refuse_entered_meanwhile(asking: Asking, plan: Plan, position: int, ledger: Ledger) -> None:
    """Refuse to enter a request that another process has entered since the ledger was read."""
    entry, listed = plan.entries[position], plan.listed[position]
    same = same_request(asking, listed, entry.received, ledger.entries())
    if same is not None:
        raise EvidenceError(
            Fault(
                f"{same.name} was entered while the list was read, and names the same people",
                where="--ledger",
                do="Nothing was written. Give the command again.",
            )
        )


def _written(
    asking: Asking,
    plan: Plan,
    directory: RunDirectory,
    entries: Sequence[Entry],
    forget_list: ForgetList,
    *,
    batch: int,
) -> StoredWithdrawal:
    """Take the folder for the run; returns what it stores."""
    references = {}
    for entry, listed in zip(entries, plan.listed, strict=False):
        references[entry.number] = listed.reference

    requests = []
    for entry in forget_list.entries:
        number = entry.name if batch else references.get(entry.number, "")
        written = subjects_as_written(entry)
        requests.append(
            StoredRequest(
                request=withdrawal_of(entry, number=number),
                number=entry.number if batch else 0,
                subjects=len(written),
                forgotten=sum(name == entry.name for _, name in forget_list.rows),
                never_trained=tuple(forget_list.never_trained[entry.number]),
                absent=tuple(forget_list.absent[entry.number]),
                digest=digest_of(written),
            )
        )

    policy = asking.policy
    stored = StoredWithdrawal(
        FORMAT,
        model=asking.model.weights,
        cohort=forget_list.cohort,
        batch=batch,
        requests=tuple(requests),
        policy="" if policy is None else policy.digest,
    )
    write_withdrawal(
        directory,
        spec_of_withdrawal(asking, stored, directory.root),
        stored,
        forget_list=list_text(forget_list.kind, forget_list.rows),
        expected=plain_expectation(plan),
        policy="" if policy is None else policy.text,
    )
    return stored


def _known_to_ledger(asking: Asking, stored: StoredWithdrawal) -> bool:
    """Whether the ledger has the requests of a stored withdrawal in its batch."""
    if asking.ledger is None:
        raise SpecError(
            Fault("the withdrawal began with a ledger", where="--ledger", do="Name it again.")
        )
    if not asking.ledger.exists():
        return False

    with contextlib.closing(Ledger(asking.ledger, reading=True)) as ledger:
        known = {entry.number: entry for entry in ledger.entries()}
    for one in stored.requests:
        entry = known.get(one.number)
        if entry is None or entry.batch != stored.batch:
            return False
        if digest_of(subjects_as_written(entry)) != one.digest:
            return False
    return True


def _other_words(asking: Asking, stored: StoredWithdrawal) -> list[Fault]:
    """What the command says that differs from what the withdrawal began with; the run compares its own options."""
    do = "Give the words that it began with, or choose another --out."
    faults = []
    if stored.model != asking.model.weights:
        faults.append(Fault("the withdrawal began with another model", where="--model", do=do))
    if stored.policy != ("" if asking.policy is None else asking.policy.digest):
        faults.append(
            Fault(
                "the withdrawal began with another policy, or with none",
                where="--policy",
                why="what is acceptable is declared before anything is measured",
                do=f"{do} To accept a result afterwards: forgetmi requests close --note.",
            )
        )
    if stored.batch == 0 and asking.ledger is not None:
        faults.append(Fault("the withdrawal began without a ledger", where="--ledger", do=do))
    faults += _other_requests(asking, stored)
    return faults


def _other_requests(asking: Asking, stored: StoredWithdrawal) -> Iterator[Fault]:
    """A fault if the list or the numbers name other requests."""
    do = "Give the words that it began with, or choose another --out."
    if asking.who is None:
        if asking.numbers and not {*stored.numbers} <= {*asking.numbers}:
            yield Fault("the withdrawal began with other requests", where="--requests", do=do)
        return

    # Requests that needed no run are in the list, too
    in_list = set()
    for one in read_requests(asking.who, Pseudonyms(asking.key)):
        in_list.add(digest_of({*one.subjects.patients, *one.subjects.studies}))
    if not {one.digest for one in stored.requests} <= in_list:
        yield Fault("the withdrawal began with another list", where="--list", do=do)


def _accepted(asking: Asking, record: Record) -> str:
    """Why the policy accepts a verdict that is not FORGOTTEN, in words; "" = it does not, or need not."""
    if asking.policy is None or record.decision.outcome == "FORGOTTEN":
        return ""
    policy = asking.policy.policy
    if policy.why_not(record):
        return ""
    return (
        f"verdict {record.decision.outcome}, accepted by a policy that {policy.signed_off_by} signed off: "
        f"{policy.reason} (policy {asking.policy.digest[:16]})"
    )


def _close_one(
    ledger: Ledger, entry: Entry, record: Record, directory: RunDirectory, *, accepted: str
) -> ClosedRequest:
    if entry.state in FINAL:
        return ClosedRequest(entry.name, entry.state, "closed before")

    # The record decides whether it may be closed; of a verdict the policy does
    try:
        notes = ledger.close_requests(
            [entry.number], record, folder=directory.root, accepted=accepted
        )
    except EvidenceError as error:
        why = "; ".join(fault.what for fault in error.faults)
        return ClosedRequest(entry.name, entry.state, why)
    remarks = notes.get(entry.number, "")
    return ClosedRequest(entry.name, "closed", "; ".join(filter(None, [accepted, remarks])))


def _without_ledger(one: StoredRequest) -> ClosedRequest:
    return ClosedRequest(one.request.number, "", "no ledger is kept")
