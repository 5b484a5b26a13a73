"""A cohort: one row per image-report pair; and who withdraws from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Flags, Labels, Strings, codes, read_only
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.modalities import IMAGE, TEXT

# Columns with one value a row.
COLUMNS = ("patient", "study", "image_id", "group", "image", "report", "label", "split")


@dataclass(frozen=True, eq=False)
class Spelling:
    """How a cohort's identifiers were compared, so that lists are read against it by the same rule; no identifiers.

    Args:
        rules: In what two spellings may differ and still name the same, as `forgetmi.cohort.identity.RULES`.
        settled: Whether the user said that spellings which differ otherwise name different persons.
        stands_for: Keyed digest of each spelling in the user's mapping to that of the identifier it stands for.
        alike: Kind ("patient", "study") to: keyed digest of what alike spellings share, to an identifier's own digest
            and the rules that would change it.
    """

    rules: tuple[str, ...] = ()
    settled: bool = False
    stands_for: Mapping[str, str] = field(default_factory=dict)
    alike: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Cohort:
    """One row per image-report pair. Identifiers are keyed digests: raw ones never leave the cohort room.

    Several images may share a study (and its report); several studies belong to one patient.

    Args:
        name: Short name for reports.
        patient, study, image_id: n keyed digests each.
        group: n digests of the unit that must stay on one side (family, article); the patient where there is none.
        image: n image locators for `forgetmi.data.decode.read_image`; empty where a row has no image.
        report: n report texts.
        label: Int64[n] class indices, -1 = unknown (of pairs all 0); Float32[n] values, NaN = unknown; or
            Float32[n, f] findings, 1 = present, 0 = absent, NaN = unknown.
        split: n of "" (free), "train", "validation", "holdout" or "reference".
        classes: Names of the k classes, or of the findings, in order.
        task: What the labels are (`forgetmi.core.task.TaskName`): grades of edema, classes such as causes, ...
        subgroups: Column name to n strings ("" = unknown), e.g. sex, view.
        show_images: Whether a report may show example radiographs.
        digest: Digest of the table's content, independent of the identifier key.
        key_id: Which identifier key made the digests.
        notices: What was converted or skipped on reading, in words, without identifiers.
        spelling: How identifiers were compared.
        table: Float32[n, c] of measured columns beside film and report, NaN = missing; of categories the codes 0, 1,
            2, ...; None = there are none.
        table_columns: Names of the c columns.
        categorical: Names of those that hold codes of categories.
        modalities: What the rows have, in order; not each row need have each.
        present: Modality to Bool[n], whether each row has it; only modalities that some rows lack. A row that lacks one
            has a neutral input instead: no film (black), an empty report, NaN in every column.
    """

    name: str
    patient: Strings
    study: Strings
    image_id: Strings
    group: Strings
    image: Strings
    report: Strings
    label: Labels
    split: Strings
    classes: tuple[str, ...]
    task: str
    subgroups: Mapping[str, Strings]
    show_images: bool
    digest: str
    key_id: str
    notices: tuple[str, ...] = ()
    spelling: Spelling = field(default_factory=Spelling)
    table: npt.NDArray[np.float32] | None = None
    table_columns: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    modalities: tuple[str, ...] = (IMAGE, TEXT)
    present: Mapping[str, Flags] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Every column has a value for every row, and cannot be written to: rooms share one cohort.
        for name in COLUMNS:
            column = read_only(getattr(self, name))
            object.__setattr__(self, name, column)
            if len(column) != len(self.label):
                raise CohortError(
                    Fault(f"column {name} has {len(column)} rows, label {len(self.label)}")
                )

        subgroups = {key: read_only(values) for key, values in self.subgroups.items()}
        object.__setattr__(self, "subgroups", subgroups)

        # What was measured, and what is missing
        if self.table is not None:
            object.__setattr__(self, "table", read_only(self.table))
            if self.table.shape != (len(self), len(self.table_columns)):
                raise CohortError(Fault(f"the table has the shape {self.table.shape}"))
        present = {name: read_only(there) for name, there in self.present.items()}
        object.__setattr__(self, "present", present)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        studies = len(codes(self.study)[1])
        patients = len(codes(self.patient)[1])
        return (
            f"Cohort({self.name!r}, {len(self)} images, {studies} studies, {patients} patients, "
            f"digest {self.digest[:12]})"
        )


@dataclass(frozen=True)
class ForgetRequest:
    """Who withdraws; whole patients unless single studies are named.

    Args:
        patients: Keyed digests of patients.
        studies: Keyed digests of single studies (of patients not in `patients`).
        reason: Free words for the record, without identifiers.
        date: ISO date of the request.
        notices: What was converted on reading the list, in words, without identifiers.
    """

    patients: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    reason: str = ""
    date: str = ""
    notices: tuple[str, ...] = ()
