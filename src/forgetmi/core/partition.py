"""Which rows of a cohort are forgotten, retained, or held out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

import numpy as np

from forgetmi.core.arrays import Ints, read_only
from forgetmi.core.errors import Fault, PartitionError

SetName = Literal["forget", "retain", "validation", "holdout", "reference"]
SETS: tuple[SetName, ...] = ("forget", "retain", "validation", "holdout", "reference")

# Nothing is trained on never-seen patients, nor chosen by them.
NEVER_SEEN: tuple[SetName, ...] = ("holdout", "reference")


@dataclass(frozen=True, eq=False, repr=False)
class Partition:
    """Which rows are forgotten, retained, used for validation, held out for reporting, or extra references.

    Patient-disjoint by construction: a patient (or group) on two sides raises. Only a request for single studies
    (`whole_patients=False`) lets one patient be in both forget and retain.

    Args:
        forget, retain, validation, holdout, reference: Row indices, sorted.
        patient, group: Codes for all n rows of the cohort (see `codes`).
        cohort: Digest of the cohort.
        whole_patients: False when single studies were requested.
        notes: How the sets were drawn, in words (e.g. the distance of study counts).
        earlier: Rows of `forget` that earlier requests had forgotten; models go on being made without them, but what is
            measured is about the other rows (`of_request`).
        unproved: Why it is not known whom the original was trained on, so that nobody can be called never seen and no
            verdict is given; empty = it is known.

    Raises:
        PartitionError: Sets overlap, are empty (forget, retain), or share a patient or group; nobody is forgotten now.
    """

    forget: Ints
    retain: Ints
    validation: Ints
    holdout: Ints
    patient: Ints
    group: Ints
    cohort: str
    reference: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    whole_patients: bool = True
    notes: tuple[str, ...] = ()
    earlier: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    unproved: str = ""

    def __post_init__(self) -> None:
        for name in (*SETS, "patient", "group", "earlier"):
            rows = np.asarray(getattr(self, name), np.int64)
            object.__setattr__(self, name, read_only(rows))

        # Every fault of every pair of sets is reported at once.
        faults = [*self._empty(), *self._earlier_elsewhere()]
        for first, second in combinations(SETS, 2):
            faults.extend(self._shared(first, second))

        if faults:
            raise PartitionError(faults)

    def rows(self, name: SetName) -> Ints:
        """Row indices of one set."""
        return getattr(self, name)

    def of_request(self) -> Partition:
        """The same with only what is forgotten now; what earlier requests had forgotten is in no set.

        For measuring and for the audit: patients forgotten before would dilute the results of those who withdraw now.
        """
        if not len(self.earlier):
            return self

        # Without the earlier ones, whole patients may be left where single studies had been requested.
        forget = np.setdiff1d(self.forget, self.earlier)
        also_retained = np.isin(self.patient[forget], self.patient[self.retain]).any()
        whole_patients = self.whole_patients or not also_retained

        nothing = np.empty(0, np.int64)
        return replace(self, forget=forget, whole_patients=whole_patients, earlier=nothing)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images and patients in each set."""
        counts = {}
        for name in SETS:
            rows = self.rows(name)
            patients = np.unique(self.patient[rows])
            counts[name] = {"images": len(rows), "patients": len(patients)}
        return counts

    def _empty(self) -> list[Fault]:
        faults = []
        for name in ("forget", "retain"):
            if len(getattr(self, name)) == 0:
                faults.append(
                    Fault(
                        f"the {name} set is empty",
                        do="Forget fewer patients, or use a larger cohort.",
                    )
                )
        return faults

    def _earlier_elsewhere(self) -> list[Fault]:
        """A fault if the rows forgotten earlier are not a proper part of the forget set."""
        if not len(self.earlier):
            return []

        inside = np.isin(self.forget, self.earlier).sum()
        if inside == len(self.earlier) < len(self.forget):
            return []

        return [
            Fault(
                "what was forgotten earlier is not a part of the forget set",
                why="or is all of it",
            )
        ]

    def _shared(self, first: SetName, second: SetName) -> list[Fault]:
        """A fault if two sets share rows, patients or groups."""
        first_rows, second_rows = self.rows(first), self.rows(second)
        training = (first, second) == ("forget", "retain")

        shared_rows = np.intersect1d(first_rows, second_rows).size
        if shared_rows:
            return [Fault(f"{shared_rows} rows are in both {first} and {second}")]

        # A request for single studies leaves a patient's other studies in training.
        if training and not self.whole_patients:
            return []

        shared_patients = np.intersect1d(self.patient[first_rows], self.patient[second_rows]).size
        if shared_patients:
            return [_both_sides(f"{shared_patients} patients", first, second)]

        # One of a family may withdraw alone.
        shared_groups = np.intersect1d(self.group[first_rows], self.group[second_rows]).size
        if shared_groups and not training:
            return [_both_sides(f"{shared_groups} groups", first, second)]

        return []

    def __repr__(self) -> str:
        parts = []
        for name, number in self.counts().items():
            parts.append(f"{name} {number['patients']} patients/{number['images']} images")
        return f"Partition({', '.join(parts)})"


def _both_sides(units: str, first: SetName, second: SetName) -> Fault:
    return Fault(
        f"{units} are in both {first} and {second}",
        why="a person must be wholly on one side",
        do="Assign every row of a patient to one set.",
    )
