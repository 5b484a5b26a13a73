"""Open requests become one forget list: what their subjects are to the model in service, and how to carry them out."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.files import write_text
from forgetmi.core.partial_files import remove_partials_of
from forgetmi.core.printable import printable
from forgetmi.requests.entries import Entry, Kind, NothingToUnlearn, State, Step
from forgetmi.requests.ledger import Ledger
from forgetmi.requests.matching import spelling_faults, subjects_in
from forgetmi.requests.standing import (
    ABSENT,
    FORGOTTEN,
    NEVER_TRAINED,
    TRAINED,
    UNKNOWN,
    standing_in_service,
)


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
    steps = ledger.steps()
    folder = Path(steps[-1].folder) if steps else None
    standing = standing_in_service(folder, cohort, kind, notes)

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
        standing: What each patient or study is to the model in service; see `forgetmi.requests.standing`.

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
            # A list of strangers alone may be of another hospital, or its column the wrong one: a person decides
            if never and len(never) + len(not_there) == len(digests):
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
