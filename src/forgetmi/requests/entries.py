"""What a ledger stores: requests, and the runs that carried them out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, get_args

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted

State = Literal["open", "processing", "on_hold", "closed", "refused"]
Scope = Literal["all_studies", "one_modality", "future_training", "legal_hold"]
Kind = Literal["patient", "study"]

STATES: tuple[State, ...] = get_args(State)
FINAL: tuple[State, ...] = ("closed", "refused")
PENDING: tuple[State, ...] = tuple(state for state in STATES if state not in FINAL)


@dataclass(frozen=True)
class Entry:
    """One request.

    Args:
        number: Its number, from 1.
        received, due: Days.
        term: What sets the deadline.
        ground, scope: As for a run's record.
        state: Where it stands.
        batch: Which forget list it went into; None = none yet.
        record: Digest of the record that closed it; "" = none yet.
        patients, studies: Keyed digests, as the cohort reads them for which a forget list was made last.
        never_trained: Those of them that no model was trained on, as found when a forget list was made.
        absent: Those of them whom the cohort does not have for which a forget list was made last.
        absent_from: Digest of that cohort; "" = it has everybody.
        written: Kind to the digests of the identifiers as they were written.
        readings: Of each of these, rules to digest; see `forgetmi.cohort.spelling.readings`.
        recipients: Who had the data or a model and was informed, to the day (GDPR Art. 19).
    """

    number: int
    received: date
    due: date
    term: str
    ground: str
    scope: str
    state: State
    batch: int | None
    record: str
    patients: tuple[str, ...]
    studies: tuple[str, ...]
    never_trained: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    absent_from: str = ""
    written: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    readings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    recipients: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The number as people write it."""
        return f"R{self.number:04}"

    @property
    def alike(self) -> set[str]:
        """Keyed digests of what the spellings of each subject have in common."""
        found = set()
        for readings in self.readings.values():
            found |= {digest for rules, digest in readings.items() if rules.startswith("alike")}
        return found

    @property
    def subjects(self) -> set[str]:
        """Keyed digests of all patients and studies it names."""
        return {*self.patients, *self.studies}


@dataclass(frozen=True)
class Step:
    """One run in the history of a model.

    Args:
        record: Digest of its record.
        folder: Its directory.
        at: When it was recorded.
        before, after: Digests of the weights.
        verdict: Of the record.
        gap, floor: Distance to retraining, and the retrained models' own; None = not measured.
        auc_before, auc: On never-seen patients, image head, of the model before and after.
        requests: Numbers of the requests it closed.
    """

    record: str
    folder: str
    at: str
    before: str
    after: str
    verdict: str
    gap: float | None
    floor: float | None
    auc_before: float | None
    auc: float | None
    requests: tuple[int, ...]


@dataclass(frozen=True)
class NothingToUnlearn:
    """A request of which nobody was trained on.

    Args:
        entry: The request.
        reason: What those it names are to the model, in words, without identifiers.
        never_trained: Those whom no model was trained on.
        absent: Those whom the cohort does not have.
        named: Digests as written to those of the cohort.
    """

    entry: Entry
    reason: str
    never_trained: Sequence[str]
    absent: Sequence[str]
    named: Mapping[str, str]


def numbers(names: Sequence[str]) -> list[int]:
    """Numbers of requests from how people write them, e.g. R0003.

    Raises:
        SpecError: Some are no numbers.
    """
    wrong = [name for name in names if not re.fullmatch(r"R?\d{1,9}", name)]

    if wrong:
        raise SpecError(
            Fault(f"{quoted(name)} is no number of a request", do="Write it as R0003.")
            for name in wrong
        )

    return [int(name.removeprefix("R")) for name in names]
