"""Open requests become one forget list: what their subjects are to the model in service, and how to carry them out."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.arrays import Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvidenceError, Fault, PartitionError
from forgetmi.core.files import write_text
from forgetmi.core.partial_files import remove_partials_of
from forgetmi.core.partition import Partition
from forgetmi.core.printable import printable
from forgetmi.requests.entries import Entry, Kind, NothingToUnlearn, State, Step
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.matching import spelling_faults, subjects_in

# What the data of a patient or study are to the model in service.
TRAINED = "trained on"
FORGOTTEN = "forgotten by an earlier run"
ABSENT = "not in this cohort"
VALIDATION = "never trained on (validation)"
HOLDOUT = "never trained on (holdout)"
REFERENCE = "never trained on (reference)"
UNKNOWN = "not among the model's patients"  # whether it was trained on them is not known
NEVER_TRAINED = (VALIDATION, HOLDOUT, REFERENCE)
_OF_SPLIT: Mapping[str, str] = {
    "validation": VALIDATION,
    "holdout": HOLDOUT,
    "reference": REFERENCE,
}


@dataclass(frozen=True)
class ForgetList:
    """Requests that one run can carry out together.

    Args:
        kind: Whether it names patients or single studies.
        entries: The requests that go into it.
        rows: Keyed digest and name of the request, one a subject to forget.
        never_trained: Number of a request to those of its subjects that no model was trained on.
        notes: What was left out and why, in words.
        named: Number of a request to the digests of its subjects as they were written, to those of the cohort.
        absent: Number of a request to those of its subjects whom the cohort does not have.
        cohort: Digest of the cohort.
        nothing: Requests that are left out because nobody they name was trained on.
    """

    kind: Kind
    entries: tuple[Entry, ...]
    rows: tuple[tuple[str, str], ...]
    never_trained: Mapping[int, Sequence[str]]
    notes: tuple[str, ...]
    named: Mapping[int, Mapping[str, str]]
    absent: Mapping[int, Sequence[str]]
    cohort: str
    nothing: tuple[NothingToUnlearn, ...] = ()

    def write(self, path: Path) -> None:
        """Write it as CSV, for ``--partition.forget-list``."""
        lines = [f"{self.kind}_digest,request"]
        lines += [f"{digest},{request}" for digest, request in self.rows]
        remove_partials_of(path)
        write_text(path, "\n".join(lines) + "\n")


def gather(ledger: Ledger, cohort: Cohort, *, kind: Kind, only: Sequence[int] = ()) -> ForgetList:
    """Match requests with a cohort and gather those that a run can carry out.

    Args:
        ledger: Its open requests are gathered.
        cohort: The one the model in service was trained on.
        kind: Requests that name patients, or those that name single studies.
        only: Numbers of the requests wanted, open or already processing; none = every open one.

    Raises:
        EvidenceError: A number is unknown, or somebody named is in the cohort in another spelling that no rule covers.
    """
    notes: list[str] = []
    partition = _partition_in_service(ledger.steps(), cohort, notes)
    standing = standing_of_subjects(cohort, kind, partition)

    states: tuple[State, ...] = ("open", "processing") if only else ("open",)
    entries = ledger.entries(only, states=states)
    gathered = gather_entries(entries, cohort, kind=kind, standing=standing)
    return replace(gathered, notes=(*notes, *gathered.notes))


def gather_entries(
    entries: Sequence[Entry], cohort: Cohort, *, kind: Kind, standing: Mapping[str, str]
) -> ForgetList:
    """Match some requests with a cohort and gather those that a run can carry out.

    Args:
        entries: The requests, of a ledger or not.
        cohort: The one the model in service was trained on.
        kind: Requests that name patients, or those that name single studies.
        standing: What each patient or study is to the model in service; see `standing_of_subjects`.

    Raises:
        EvidenceError: Somebody named is in the cohort in another spelling that no rule covers.
    """
    notes: list[str] = []
    nothing: list[NothingToUnlearn] = []
    taken: list[Entry] = []
    rows: list[tuple[str, str]] = []
    never_trained: dict[int, list[str]] = {}
    named: dict[int, dict[str, str]] = {}
    absent: dict[int, list[str]] = {}
    faults: list[Fault] = []

    for entry in entries:
        # As the cohort has them; somebody in another spelling is neither passed over nor taken for granted
        as_cohort = subjects_in(cohort.spelling, kind, entry)
        digests = list(dict.fromkeys(as_cohort.values()))
        faults += spelling_faults(
            cohort.spelling, kind, entry, {w for w, d in as_cohort.items() if d not in standing}
        )
        standings = [standing.get(digest, ABSENT) for digest in digests]
        never = [d for d, s in zip(digests, standings, strict=True) if s in NEVER_TRAINED]
        not_there = [d for d, s in zip(digests, standings, strict=True) if s == ABSENT]

        reason = _why_left_out(entry, kind, standings)
        if reason:
            notes.append(f"{entry.name} is left out: {reason}")
            if standings and len(never) + len(not_there) == len(digests):
                words = _nothing_to_unlearn(standings, cohort)
                nothing.append(NothingToUnlearn(entry, words, never, not_there, as_cohort))
            continue

        # What of this request needs no unlearning.
        for name, count in Counter(standings).items():
            if name != TRAINED:
                notes.append(f"{entry.name}: {count} of {len(standings)} are {name}")

        taken.append(entry)
        named[entry.number] = as_cohort
        never_trained[entry.number] = never
        absent[entry.number] = not_there
        for digest, name in zip(digests, standings, strict=True):
            if name == TRAINED:
                rows.append((digest, entry.name))

    if faults:
        raise EvidenceError(faults)
    return ForgetList(
        kind,
        tuple(taken),
        tuple(rows),
        never_trained,
        tuple(notes),
        named,
        absent,
        cohort.digest,
        tuple(nothing),
    )


def standing_of_subjects(cohort: Cohort, kind: Kind, partition: Partition | None) -> dict[str, str]:
    """What each patient's or study's data are to the model in service.

    Args:
        cohort: The cohort.
        kind: Patients or studies.
        partition: Of the last run that closed a request; None = none yet: the cohort's own split alone tells.

    Returns:
        Keyed digest to one of the constants above. Of a patient with several of them, "trained on" counts.
    """
    of_row = np.array(
        [_OF_SPLIT.get(split, TRAINED) for split in cohort.split.tolist()], dtype=object
    )

    # Once a run has closed a request, its partition counts
    if partition is not None:
        of_row[partition.retain] = TRAINED
        of_row[partition.forget] = FORGOTTEN
        of_row[partition.validation] = VALIDATION
        of_row[partition.holdout] = HOLDOUT
        of_row[partition.reference] = REFERENCE

    return standing_of_rows(cohort, kind, of_row)


def standing_of_rows(cohort: Cohort, kind: Kind, of_row: Strings) -> dict[str, str]:
    """What each patient's or study's data are, from what each row is.

    Args:
        cohort: The cohort.
        kind: Patients or studies.
        of_row: One of the constants above for each row.
    """
    identifiers = cohort.patient if kind == "patient" else cohort.study
    digests = identifiers.astype(str)

    # One trained image is enough for its patient to be trained on, then one forgotten one.
    standing = dict(zip(digests.tolist(), of_row.tolist(), strict=True))
    for name in (FORGOTTEN, TRAINED):
        for digest in digests[of_row == name].tolist():
            standing[digest] = name
    return standing


def next_command(path: Path, entries: Sequence[Entry], steps: Sequence[Step]) -> str:
    """The command that carries a forget list out, without the cohort's options.

    Args:
        path: The forget list.
        entries: Its requests.
        steps: The history of the model in service; a further withdrawal starts from its last run.
    """
    names = ",".join(entry.name for entry in entries)
    first_received = min(entry.received for entry in entries)
    grounds = dict.fromkeys(entry.ground for entry in entries)
    words = [
        *("forgetmi", "run"),
        *("--partition.forget-list", str(path)),
        *("--request.id", names),
        *("--partition.date", first_received.isoformat()),
        *("--request.ground", "; ".join(map(printable, grounds))),
    ]

    # The model in service has forgotten others before.
    if steps:
        previous = Path(steps[-1].folder)
        words += ["--given.original", str(previous / "models" / "unlearned")]
        words += ["--partition.after", str(previous / "partition.json")]
        words += ["--previous", str(previous / "record.json")]

    return shlex.join([*words, "--out", "DIRECTORY"])


def _partition_in_service(
    steps: Sequence[Step], cohort: Cohort, notes: list[str]
) -> Partition | None:
    """The partition of the model in service; None where no run has closed a request, or its files are gone."""
    if not steps:
        return None

    try:
        return read_partition(Path(steps[-1].folder) / "partition.json", cohort)
    except PartitionError as error:
        notes.append(f"who was never trained on is known from the cohort alone: {error}")
        return None


def _nothing_to_unlearn(standings: Sequence[str], cohort: Cohort) -> str:
    """Why a request is closed without a run, for its history."""
    counts = ", ".join(f"{count} {name}" for name, count in Counter(standings).items())
    return f"nothing to unlearn: of those it names, {counts} (cohort {cohort.digest[:16]})"


def _why_left_out(entry: Entry, kind: Kind, standings: Sequence[str]) -> str:
    """Why a request does not go into the list; "" = it does."""
    if not standings:
        return f"it names no {kind}; see --kind"
    if entry.scope == "future_training":
        return "it asks for future training only: leave the data out of the next training, then close it with a note"
    if TRAINED in standings:
        return ""
    if set(standings) == {ABSENT}:
        return (
            "nobody it names is in this cohort: if that is right, forgetmi requests close "
            f"{entry.name} --note 'nobody named is in the cohort'"
        )

    # Nothing is left to unlearn: an earlier run forgot them, or no model ever saw them.
    counts = ", ".join(f"{count} {name}" for name, count in Counter(standings).items())
    if FORGOTTEN in standings:
        return f"of those it names, {counts}: close it by the record of the run that forgot them"
    if UNKNOWN in standings:
        return (
            f"of those it names, {counts}: whether it was trained on them is not known. Find it out, then: "
            f"forgetmi requests close {entry.name} --note WHY"
        )
    return (
        f"of those it names, {counts}: there is nothing to unlearn. Take them out of the data, then: forgetmi "
        f"requests close {entry.name} --note 'the model was never trained on them'"
    )
