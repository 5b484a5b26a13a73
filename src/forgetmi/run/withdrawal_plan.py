"""What a withdrawal will do, found out before anything is written: who is named, what can be shown, what it costs."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from forgetmi.audit.expectation import Expectation, expectation
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.core.cohort import Cohort
from forgetmi.core.cost import Cost
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.partial_files import unfinished_folder
from forgetmi.core.partition import NEVER_SEEN, Partition
from forgetmi.evidence.request import RequestSpec, Withdrawal
from forgetmi.requests.entries import Entry, Kind
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.processing import ForgetList, gather_entries
from forgetmi.requests.request_list import ListedRequest, read_requests
from forgetmi.run.applicable import check_model
from forgetmi.run.model_in_service import retraining_cost_of, standing
from forgetmi.run.pool_references import reference_count
from forgetmi.run.pool_targets import check_targets
from forgetmi.run.run_data import divide, refuse_identifiers
from forgetmi.run.spec import RunSpec
from forgetmi.run.withdrawal_requests import (
    Asking,
    kind_of_requests,
    open_ledger,
    requests_of_ledger,
    requests_of_list,
)

FORGET_LIST = "forget_list.csv"


@dataclass(frozen=True)
class Plan:
    """What a withdrawal will do.

    Args:
        cohort: The cohort.
        kind: Patients or single studies.
        entries: The requests; those that are not in the ledger yet have numbers that may still change.
        listed: What the list says of each of them; empty for requests of the ledger.
        entered: Whether each is in the ledger.
        forget_list: Who is forgotten, who needs no unlearning, what is left out.
        notes: What else the user must know.
        expected: What the audit can show; None = there is nothing to unlearn.
        cost: Of one retraining, as recorded; None = unknown.
    """

    cohort: Cohort
    kind: Kind
    entries: tuple[Entry, ...]
    listed: tuple[ListedRequest, ...]
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
    check_model(asking.spec, cohort)
    refuse_identifiers(_without_requests(asking), cohort)
    _refuse_identifiers_of_policy(asking, cohort)

    # Requests of the list, or of the ledger
    ledger = open_ledger(asking, cohort)
    listed: tuple[ListedRequest, ...] = ()
    if asking.who is not None:
        listed = read_requests(asking.who, Pseudonyms(asking.key), words=(asking.ground,))
        entries, entered = requests_of_list(asking, listed, ledger)
    else:
        assert ledger is not None
        entries = requests_of_ledger(ledger, asking.numbers)
        entered = [True] * len(entries)

    # What they are to the model
    kind = kind_of_requests(entries)
    of_subject = standing(asking.model, asking.spec, cohort, kind)
    waiting = [entry for entry in entries if entry.state == "open"]
    forget_list = gather_entries(waiting, cohort, kind=kind, standing=of_subject)
    notes = [] if ledger is None else _notes_of_ledger(asking, ledger)

    expected = None
    if forget_list.entries:
        partition = _divided(asking, cohort, forget_list)
        check_targets(asking.spec, cohort, partition)
        expected = _expectation(asking.spec, cohort, partition)
    if ledger is not None:
        ledger.close()

    return Plan(
        cohort=cohort,
        kind=kind,
        entries=tuple(entries),
        listed=listed,
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
    if model.unlearned and not model.names_patients:
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
    # It names people: what a killed process left of it goes first
    with unfinished_folder(Path(tempfile.gettempdir()) / "forgetmi-list") as folder:
        path = folder / FORGET_LIST
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

    found = expectation(
        patients=len(np.unique(now.patient[now.forget])),
        never_seen=effective,
        retrained=reference_count(spec),
        rule=spec.audit.rule,
    )
    lacking = partition.unproved
    if not spec.audit.enabled:
        lacking = "the run is not audited (--audit.enabled)"
    if not lacking:
        return found
    return replace(found, half_width=None, can_show=False, chance=0.0, lacking=lacking)


def plain_expectation(plan: Plan) -> dict[str, object]:
    """What is stored of what was expected."""
    from forgetmi.audit.expectation import sentences

    assert plan.expected is not None
    return {
        **dataclasses.asdict(plan.expected),
        "sentences": sentences(plan.expected),
        "retraining": None if plan.cost is None else dataclasses.asdict(plan.cost),
    }
