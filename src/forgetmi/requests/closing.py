"""Whether a run's record meets a request, and what must be said beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from forgetmi.core.errors import Fault
from forgetmi.requests.entries import Entry, Step

if TYPE_CHECKING:  # a ledger is opened in a moment, a record brings the whole package
    from forgetmi.evidence.record import Flag, Record

_FOUND: dict[Flag, tuple[str, str]] = {
    "remembered": (
        "flagged as remembered",
        "unlearn again or retrain, and audit again; until then do not tell them that they were forgotten",
    ),
    "forgotten too visibly": (
        "flagged as forgotten too visibly",
        "unlearn more gently or retrain, and audit again",
    ),
    "copy retained": (
        "not part of the verdict, a retained patient has a copy",
        "find out in duplicates.json whose it is, and forget or remove it, too",
    ),
}


def unmet(
    entries: Sequence[Entry], record: Record, *, note: str, steps: Sequence[Step]
) -> list[Fault]:
    """Why a record does not close requests; empty = it does.

    Args:
        entries: The requests.
        record: Of the run that should have carried them out.
        note: Why they are closed all the same, where the verdict, the date or another original speak against it.
        steps: The history of the model in service, by which it was found who was never trained on.
    """
    now, earlier = _forgotten(record), {*(record.subjects.earlier or ())}
    elsewhere = (
        bool(steps)
        and record.digest not in {step.record for step in steps}
        and record.model("before").weights != steps[-1].after
    )
    found = []
    for entry in entries:
        named = _named(entry)
        trained = named - {*entry.never_trained}
        if missing := trained - now - earlier:
            found.append(
                Fault(
                    f"the record does not forget everybody {entry.name} names",
                    where="record.json",
                    why=f"{len(missing)} of {len(named)} are missing",
                    do="Give the record of the run that carried it out.",
                )
            )
        elif not trained & now:
            found.append(
                Fault(
                    f"the record's verdict is about nobody {entry.name} names",
                    where="record.json",
                    why="an earlier run forgot them" if trained else "they were never trained on",
                    do="Give that run's record."
                    if trained
                    else "Close it with --note, without a record.",
                )
            )
        if record.written[:10] < entry.received.isoformat() and not note:
            found.append(
                Fault(
                    f"the record is older than {entry.name}",
                    where="record.json",
                    why=f"written on {record.written[:10]}, received on {entry.received}",
                    do="Give the record of a run made since, or say in --note why this one meets it.",
                )
            )
        if elsewhere and entry.never_trained and not note:
            found.append(
                Fault(
                    f"some whom {entry.name} names may have been trained on here",
                    where="record.json",
                    why="the run does not start from the model in service, which never saw them",
                    do="Give the record of a run with --partition.after, or say in --note why it holds.",
                )
            )
    if record.decision.outcome != "FORGOTTEN" and not note:
        found.append(
            Fault(
                f"the verdict is {record.decision.outcome}",
                where="record.json",
                do="Say in --note why the request is closed all the same, or go on unlearning.",
            )
        )
    return found


def remarks(entry: Entry, record: Record) -> Iterator[str]:
    """What the verdict on all of them does not say of those whom a request names."""
    flagged = record.decision.flagged
    if flagged is None:
        yield "this record does not say whether single patients stand out: see the run's page for engineers"
    own = (
        entry.patients or record.subjects.patients
    )  # whose studies they are, a record does not say
    for flag, (found, do) in _FOUND.items():
        people = [patient for patient in own if (flagged or {}).get(patient) == flag]
        if people:
            whose = "patient" if entry.patients else "among all patients of the run"
            yield f"{whose} {', '.join(people)}: {found} ({do})"
    named = _named(entry)
    if before := (named & {*(record.subjects.earlier or ())}) - _forgotten(record):
        yield f"{len(before)} of {len(named)} were forgotten by an earlier run, whose record judges them"
    if entry.never_trained:
        yield f"{len(entry.never_trained)} of {len(named)} were never trained on: there was nothing to unlearn"


def _named(entry: Entry) -> set[str]:
    return {*entry.patients, *entry.studies}


def _forgotten(record: Record) -> set[str]:
    """Patients and studies that the record's verdict is about."""
    return {
        *record.subjects.studies,
        *(record.subjects.patients if record.subjects.whole_patients else ()),
    }
