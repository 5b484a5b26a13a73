"""Which rows of a cohort are forgotten, retained, or held out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    """Which rows are forgotten, retained, held for validation, held out for reporting, or extra references.

    Patient-disjoint by construction: a patient (or group) on two sides raises. Only a request for single studies
    (`whole_patients=False`) lets one patient be in both forget and retain.

    Args:
        forget, retain, validation, holdout, reference: Row indices, sorted.
        patient, group: Codes for all n rows of the cohort (see `codes`).
        cohort: Digest of the cohort.
        whole_patients: False when single studies were asked for.
        notes: How the sets were drawn, in words (e.g. the distance of study counts).
        earlier: Rows of `forget` that earlier requests had forgotten; models go on being made without them, but what is
            measured is about the other rows (`of_request`).

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

    def __post_init__(self) -> None:
        for name in (*SETS, "patient", "group", "earlier"):
            object.__setattr__(self, name, read_only(np.asarray(getattr(self, name), np.int64)))
        faults = [
            Fault(f"the {name} set is empty", do="Forget fewer patients, or use a larger cohort.")
            for name in ("forget", "retain")
            if len(getattr(self, name)) == 0
        ]
        if len(self.earlier) and not np.isin(self.forget, self.earlier).sum() == len(
            self.earlier
        ) < len(self.forget):
            faults.append(
                Fault(
                    "what was forgotten earlier is not a part of the forget set",
                    why="or is all of it",
                )
            )
        for i, one in enumerate(SETS):
            for two in SETS[i + 1 :]:
                a, b = getattr(self, one), getattr(self, two)
                if np.intersect1d(a, b).size:
                    faults.append(
                        Fault(f"{np.intersect1d(a, b).size} rows are in both {one} and {two}")
                    )
                    continue
                if not self.whole_patients and (one, two) == ("forget", "retain"):
                    continue
                for unit, code in (("patients", self.patient), ("groups", self.group)):
                    shared = np.intersect1d(code[a], code[b]).size
                    if shared and (unit == "patients" or (one, two) != ("forget", "retain")):
                        faults.append(
                            Fault(
                                f"{shared} {unit} are in both {one} and {two}",
                                why="a person must be wholly on one side",
                                do="Assign every row of a patient to one set.",
                            )
                        )
                        break
        if faults:
            raise PartitionError(faults)

    def rows(self, name: SetName) -> Ints:
        """Row indices of one set."""
        return getattr(self, name)

    def of_request(self) -> Partition:
        """The same with only what is forgotten now; what earlier requests had forgotten is in no set.

        For measuring and for the audit: patients forgotten before would water down what is said of those who ask now.
        """
        if not len(self.earlier):
            return self
        forget = np.setdiff1d(self.forget, self.earlier)
        whole = (
            self.whole_patients
            or not np.isin(self.patient[forget], self.patient[self.retain]).any()
        )
        return replace(self, forget=forget, whole_patients=whole, earlier=np.empty(0, np.int64))

    def counts(self) -> dict[str, dict[str, int]]:
        """Images and patients in each set."""
        return {
            name: {
                "images": len(self.rows(name)),
                "patients": len(np.unique(self.patient[self.rows(name)])),
            }
            for name in SETS
        }

    def __repr__(self) -> str:
        parts = [
            f"{name} {n['patients']} patients/{n['images']} images"
            for name, n in self.counts().items()
        ]
        return f"Partition({', '.join(parts)})"
