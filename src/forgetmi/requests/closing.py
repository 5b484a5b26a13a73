"""Whether a run's record closes a request, and which remarks belong to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from forgetmi.core.errors import Fault
from forgetmi.evidence.record import Flag, Record
from forgetmi.requests.entries import Entry, Step

# What a flag of the verdict means for a patient, and what to do about it.
_FLAGS: Mapping[Flag, tuple[str, str]] = {
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


def closing_faults(
    entries: Sequence[Entry],
    record: Record,
    *,
    note: str,
    steps: Sequence[Step],
    accepted: str = "",
) -> list[Fault]:
    """Why a record does not close requests; empty = it does.

    Args:
        entries: The requests.
        record: Of the run that should have carried them out.
        note: Why they are closed all the same, where the verdict, the date or another original speak against it.
        steps: The history of the model in service, by which it was found who was never trained on.
        accepted: Why a verdict that is not FORGOTTEN is acceptable; everything else must hold all the same.
    """
    elsewhere = _starts_elsewhere(record, steps)

    faults: list[Fault] = []
    for entry in entries:
        faults += _subject_faults(entry, record)
        if note:
            continue

        # A note overrules what follows: the responsible person has decided.
        if record.written[:10] < entry.received.isoformat():
            faults.append(_older(entry, record))
        if elsewhere and entry.never_trained:
            faults.append(_may_be_trained_on(entry))

    # Only the best verdict closes a request without a note
    outcome = record.decision.outcome
    if outcome != "FORGOTTEN" and not (note or accepted):
        faults.append(
            Fault(
                f"the verdict is {outcome}",
                where="record.json",
                do="Say in --note why the request is closed all the same, or go on unlearning.",
            )
        )
    return faults


def remarks(entry: Entry, record: Record, *, steps: Sequence[Step] = ()) -> Iterator[str]:
    """What the verdict leaves out about the patients of one request, in words.

    Args:
        entry: The request.
        record: The record that closes it.
        steps: The history of the models: others that learned from these patients are named.
    """
    flagged = record.decision.flagged
    if flagged is None:
        yield "this record does not say whether single patients stand out: see the run's page for engineers"

    # A request of single studies names no patients, and a record does not say whose studies they are.
    patients = entry.patients or record.subjects.patients
    whose = "patient" if entry.patients else "among all patients of the run"
    for flag, (meaning, advice) in _FLAGS.items():
        standing_out = [patient for patient in patients if (flagged or {}).get(patient) == flag]
        if standing_out:
            yield f"{whose} {', '.join(standing_out)}: {meaning} ({advice})"

    # Patients whom the verdict does not cover, because there was nothing left to unlearn.
    total = len(entry.subjects)
    earlier = (entry.subjects & _earlier(record)) - _forgotten(record)
    if earlier:
        yield f"{len(earlier)} of {total} were forgotten by an earlier run, whose record judges them"
    if absent := _not_there(entry, record):
        cohort = record.data.cohort[:16]
        yield f"{len(absent)} of {total} are not in this cohort (digest {cohort})"
    if entry.never_trained:
        yield f"{len(entry.never_trained)} of {total} were never trained on: there was nothing to unlearn"

    # Recipients and derived models, GDPR Art. 19
    if others := other_models(record, steps):
        yield (
            f"other models on record learned from them: {', '.join(others)} (take them out of use, or withdraw there, "
            "too)"
        )
    if entry.recipients:
        informed = [f"{who} on {day}" for who, day in entry.recipients.items()]
        yield f"informed: {', '.join(informed)}"


def other_models(record: Record, steps: Sequence[Step]) -> list[str]:
    """Models of a ledger's history that learned from those whom a record forgets, by the start of their digests.

    All that were made before, and whatever was made of them; not the model before and after, nor what was made of the
    latter.

    Args:
        record: The record.
        steps: The history so far.
    """
    before, after = record.model("before").weights, record.model("after").weights

    # The new model and its descendants never learned from them
    free = {after}
    learned: dict[str, None] = {}
    for step in steps:
        if step.record == record.digest or step.before in free:
            free.add(step.after)
            continue
        learned.update({step.before: None, step.after: None})
    return [weights[:12] for weights in learned if weights not in {before, *free}]


def _starts_elsewhere(record: Record, steps: Sequence[Step]) -> bool:
    """Whether a run started from another model than the one in service."""
    if not steps:
        return False

    # A record of the history itself starts where it should
    recorded = {step.record for step in steps}
    if record.digest in recorded:
        return False
    return record.model("before").weights != steps[-1].after


def _subject_faults(entry: Entry, record: Record) -> list[Fault]:
    """Why a record's forget set does not fit the patients of a request."""
    trained = entry.subjects - {*entry.never_trained} - _not_there(entry, record)
    forgotten = _forgotten(record)
    missing = trained - forgotten - _earlier(record)

    if missing:
        return [
            Fault(
                f"the record does not forget everybody {entry.name} names",
                where="record.json",
                why=f"{len(missing)} of {len(entry.subjects)} are missing",
                do="Give the record of the run that carried it out.",
            )
        ]

    if trained & forgotten:
        return []

    # All of them were forgotten earlier, or none was ever trained on.
    why, advice = "they were never trained on", "Close it with --note, without a record."
    if trained:
        why, advice = "an earlier run forgot them", "Give that run's record."
    return [
        Fault(
            f"the record's verdict is about nobody {entry.name} names",
            where="record.json",
            why=why,
            do=advice,
        )
    ]


def _not_there(entry: Entry, record: Record) -> set[str]:
    """Keyed digests of those whom the cohort of the record does not have."""
    if entry.absent_from != record.data.cohort:
        return set()
    return {*entry.absent}


def _older(entry: Entry, record: Record) -> Fault:
    return Fault(
        f"the record is older than {entry.name}",
        where="record.json",
        why=f"written on {record.written[:10]}, received on {entry.received}",
        do="Give the record of a run made since, or say in --note why this one closes it.",
    )


def _may_be_trained_on(entry: Entry) -> Fault:
    return Fault(
        f"some whom {entry.name} names may have been trained on here",
        where="record.json",
        why="the run does not start from the model in service, which never saw them",
        do="Give the record of a run with --partition.after, or say in --note why it holds.",
    )


def _forgotten(record: Record) -> set[str]:
    """Keyed digests of the patients and studies that the record's verdict is about."""
    digests = {*record.subjects.studies}
    if record.subjects.whole_patients:
        digests |= {*record.subjects.patients}
    return digests


def _earlier(record: Record) -> set[str]:
    """Keyed digests of those whom earlier requests removed."""
    return {*(record.subjects.earlier or ())}
