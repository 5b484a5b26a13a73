"""Reads a cohort from a table: one row per image-report pair, columns named as in your own file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from forgetmi.cohort.build import build_cohort
from forgetmi.cohort.column_roles import role_faults
from forgetmi.cohort.files import StringTable, read_strings, stem
from forgetmi.cohort.finding_columns import Blank, FindingRules, Uncertain, column_faults
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.identity import Identity, Same, canonical_cells
from forgetmi.cohort.label_table import JoinedLabels, join_labels
from forgetmi.cohort.measured_columns import Missing, measured_faults
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.cohort.spelling import read_identity
from forgetmi.core.arrays import Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.serialization import LATER


@dataclass(frozen=True)
class TableCohort:
    """A CSV or Parquet table with a folder of images (PNG, JPEG, DICOM, NPY).

    Use it for your own data: name the columns that differ from the defaults. A column option set to "" means that the
    table has no such column. Every cell is read as text and blank cells stay blank.
    """

    path: Path
    """The table: CSV in UTF-8 (comma-separated) or Parquet (name ends in .parquet), also as .gz or alone in a .zip."""
    patient_id: str = "patient_id"
    """Column of the person; the unit that is forgotten and split."""
    study_id: str = "study_id"
    """Column of the visit, whose images share a report; "" = each row is a study of its own."""
    image_id: str = "image_id"
    """Column of the image's unique identifier; "" = the row number."""
    image: str = "image"
    """Column of the image's path, relative to the image folder or absolute; "stack.npy#3" is one image of a stack."""
    report: str = "report"
    """Column of the report's text."""
    label: str = "label"
    """Column of the class, by name or index from 0; blank, -1 or nan = unknown."""
    split: str | None = None
    """Column of a given split (train, validation, holdout or test, reference, or blank); "" = none is given; default:
    "split" where the table has such a column."""
    group: str = ""
    """Column of what must stay on one side beside the patient (family, article); "" = the patient alone."""
    subgroups: tuple[str, ...] = ()
    """Columns to report results by, e.g. sex, view."""
    image_root: Path | None = None
    """Folder that image paths start from; default: the table's folder."""
    classes: tuple[str, ...] = ()
    """Class names in order, two or more; empty = the integers 0, 1, 2, ... of the label column."""
    task: Literal["classes", "grades", "binary", "findings", "value", "pairs"] = "classes"
    """What the labels are: grades have an order (none, mild, severe), classes are just names, binary has two of them;
    findings are several columns (labels), value is a number; pairs need no label."""
    labels: tuple[str, ...] = field(default=(), metadata=LATER)
    """Columns of findings, instead of one label: 1, 0, -1 (uncertain) or blank each. The task is findings then."""
    label_table: Path | None = field(default=None, metadata=LATER)
    """A second table (CSV or Parquet) that has the label, or the labels, instead; rows that it lacks are unknown."""
    label_key: str = field(default="", metadata=LATER)
    """Column of both tables by which labels are looked up; default: that of the study, else of the image, else of the
    patient."""
    uncertain: Uncertain = field(default="ignore", metadata=LATER)
    """What -1 counts as in findings: ignore = unknown, zero = absent, one = present."""
    blank: Blank = field(default="unknown", metadata=LATER)
    """What a blank finding counts as: unknown, or zero = absent."""
    numeric: tuple[str, ...] = field(default=(), metadata=LATER)
    """Columns of numbers that a table tower reads beside film and report: age, vital signs, laboratory values."""
    categorical: tuple[str, ...] = field(default=(), metadata=LATER)
    """Columns of names that it reads, e.g. sex; each name becomes a code, in alphabetical order."""
    missing: Missing = field(default="refuse", metadata=LATER)
    """Rows without a film, a report or any of the columns above: refuse, or allow = keep them, for models that can do
    without."""
    show_images: bool = False
    """Whether a report may show example radiographs."""
    same_identifiers: tuple[Same, ...] = field(default=(), metadata=LATER)
    """In what the spellings of one identifier may differ: leading-zeros (007, 7), decimals (7.0, 7), case, punctuation,
    blanks, unicode; never = others that are alike are different people. Default: alike identifiers are refused."""
    identifier_map: Path | None = field(default=None, metadata=LATER)
    """CSV with columns written and identifier: a patient's identifier as some row has it, and the one it stands for."""
    key_file: Path | None = None
    """Secret key of the identifier digests; default: $FORGETMI_KEY_FILE, else your own user-level key."""
    name: str = ""
    """Short name for reports; default: the table's file name without its ending."""

    def load(self) -> Cohort:
        """Read and check the table.

        Returns:
            The cohort, in the table's row order, with keyed digests in place of identifiers.

        Raises:
            CohortError: With every fault of the table (file, row, line, column, patient digest); missing columns are
                reported before anything else.
        """
        # The key first: without one no row may be read
        pseudonyms = Pseudonyms(load_key(self.key_file))
        identity = read_identity(self.same_identifiers, self.identifier_map)
        table = read_strings(self.path)

        task, faults = self._task()

        # Role to column name; "" = the table has no such column
        split = self.split
        if split is None:
            split = "split" if "split" in table.columns else ""
        column_of = {
            "patient": self.patient_id,
            "study": self.study_id,
            "image_id": self.image_id,
            "image": self.image,
            "report": self.report,
            "label": self.label if task not in ("findings", "pairs") else "",
            "split": split,
            "group": self.group,
        }

        # Columns that contradict each other, and what a model must not read
        wrong = role_faults(column_of, labels=self.labels, subgroups=self.subgroups)
        wrong += measured_faults(self.numeric, self.categorical, self.labels, column_of)
        if faults + wrong:
            raise CohortError([*faults, *wrong])

        # Columns that are named, or needed in any case, must be there
        optional = {"study", "image_id", "split", "group"}
        if task in ("findings", "pairs"):
            optional.add("label")
        if self.missing == "allow":
            optional |= {"image", "report"}
        if self.label_table is not None:
            optional.add("label")
        own = {role: column for role, column in column_of.items() if self._is_own(role)}
        needed = [column for role, column in own.items() if column or role not in optional]
        labels = self.labels if self.label_table is None else ()
        if missing := table.missing(
            [*needed, *labels, *self.subgroups, *self.numeric, *self.categorical]
        ):
            raise CohortError(missing, table.faults)
        joined = self._joined(table, column_of["label"], identity)

        # Without a column of studies or images each row is one of its own
        cells = {role: table.columns[column] for role, column in own.items() if column}
        for role in {"patient", "study", "image_id", "group"} & cells.keys():
            cells[role] = table.identifiers(column_of[role])
        if not {"study", "image_id"} <= cells.keys():
            row_names = np.array([f"row {row}" for row in table.row], dtype=object)
            if "study" not in cells:
                patients = identity.identifiers(canonical_cells(cells["patient"]))
                cells["study"] = _study_of_each_row(patients, row_names)
            cells.setdefault("image_id", row_names)

        # From here on, all readers are the same
        nothing = np.full(len(table.row), "", dtype=object)
        rows = RawRows(
            patient=cells["patient"],
            study=cells["study"],
            image_id=cells["image_id"],
            report=cells.get("report", nothing),
            label=cells.get("label", joined.cells.get(column_of["label"], nothing)),
            labels={name: (joined.cells or table.columns)[name] for name in self.labels},
            labelled=None if self.label_table is None else joined.found,
            notices=(joined.notice,) if joined.notice else (),
            image=cells.get("image", nothing),
            split=cells.get("split"),
            group=cells.get("group"),
            subgroups={column: table.columns[column] for column in self.subgroups},
            numeric={column: table.columns[column] for column in self.numeric},
            categorical={column: table.columns[column] for column in self.categorical},
            where=table.where,
            columns=column_of,
            faults=table.faults,
            no_split='If the column is something else, leave it alone with --cohort.split "".',
        )
        return build_cohort(
            rows,
            name=self.name or stem(self.path),
            pseudonyms=pseudonyms,
            identity=identity,
            classes=self.classes,
            task=task,
            rules=FindingRules(self.uncertain, self.blank),
            image_root=self.image_root or self.path.parent,
            show_images=self.show_images,
            missing_allowed=self.missing == "allow",
        )

    def _is_own(self, role: str) -> bool:
        """Whether the cohort's own table has a column, and not the second one."""
        return role != "label" or self.label_table is None

    def _joined(self, table: StringTable, label: str, identity: Identity) -> JoinedLabels:
        """The labels of the second table; none where there is no such table."""
        if self.label_table is None:
            return JoinedLabels({}, np.zeros(0, dtype=bool), "")
        key = self.label_key or self.study_id or self.image_id or self.patient_id
        return join_labels(self.label_table, key, self.labels or (label,), table, identity)

    def _task(self) -> tuple[str, list[Fault]]:
        """The task, of which columns of findings tell, too; and what contradicts it."""
        faults = column_faults(self.labels)
        if self.labels and self.task not in ("classes", "findings"):
            do = "Leave labels out, or take the task findings."
            faults.append(
                Fault(f"the task {self.task} has one label", where="option labels", do=do)
            )
        if self.task == "findings" and not self.labels:
            do = "Name the columns of the findings with --cohort.labels."
            faults.append(Fault("no column of findings is named", where="option labels", do=do))
        if self.label_key and self.label_table is None:
            do = "Name the table that has the labels with --cohort.label-table."
            faults.append(Fault("there is no second table", where="option label_key", do=do))
        if self.label_table is not None and self.task == "pairs":
            do = "Leave label_table out."
            faults.append(Fault("pairs have no label", where="option label_table", do=do))
        return "findings" if self.labels else self.task, faults


def _study_of_each_row(patient: Strings, row_names: Strings) -> Strings:
    """A study identifier for each row: patient and row together."""
    studies = []
    for identifier, row_name in zip(patient, row_names, strict=True):
        studies.append(f"{identifier} {row_name}")
    return np.array(studies, dtype=object)
