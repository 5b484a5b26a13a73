"""Reads MIMIC-CXR as PhysioNet ships it, with the edema grades and the split list of the original study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from forgetmi.cohort.archives import is_zip
from forgetmi.cohort.build import build_cohort
from forgetmi.cohort.edema_labels import GRADES, edema_grade
from forgetmi.cohort.files import StringTable
from forgetmi.cohort.finding_columns import (
    CHEXPERT,
    NO_FINDING,
    FindingRules,
    Uncertain,
    column_faults,
)
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.identity import Identity, Same
from forgetmi.cohort.joined import looked_up, looked_up_columns, matched
from forgetmi.cohort.mimic_files import branch_folder, read_all_data
from forgetmi.cohort.mimic_reports import read_reports
from forgetmi.cohort.mimic_split_list import read_split_list
from forgetmi.cohort.raw_rows import UNKNOWN, RawRows
from forgetmi.cohort.sampling import Flags
from forgetmi.cohort.spelling import read_identity
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.serialization import LATER

# The endings of image files; what counts as training
ENDINGS = {"dicom": "dcm", "jpg": "jpg"}
TRAINING_FOLDS = {"1", "2", "3", "4", "5"}
_GRADE_CELLS = {"0", "1", "2", "3", "0.0", "1.0", "2.0", "3.0"}


@dataclass(frozen=True)
class MimicCxrCohort:
    """MIMIC-CXR or MIMIC-CXR-JPG (2.0.0 and 2.1.0) with a split list of edema grades.

    You need your own credentialed access to the images and reports. The split list decides which images are read:
    columns subject_id, study_id, dicom_id, edema_severity (or edeme_severity) and fold. Fold TEST becomes the holdout,
    folds 1 to 5 the training side, of which `partition` draws validation patients. Rows whose severity is no grade and
    rows without a report are left out; the notices tell how many and where.

    Source: Johnson et al., MIMIC-CXR (PhysioNet, doi:10.13026/C2JT1Q); split list: Chauhan, Liao et al., MICCAI 2020,
    as used by Forget-MI (Hardan et al., MICCAI 2025).
    """

    split: Path
    """The split list (CSV, also as .csv.gz)."""
    root: Path | None = None
    """Folder of images; the folder that holds p10 ... p19, or one up to five levels above it."""
    reports: Path | None = None
    """Folder of reports (as `root`), PhysioNet's zip archive, or the original authors' all_data.tsv; default: the image
    folder."""
    images: Literal["dicom", "jpg", "none"] = "dicom"
    """Which images the folder holds; "none" = reports alone."""
    labels: Literal["split", "report"] = "split"
    """Grades from the split list, or read from the reports by the labeler (which may leave them unknown)."""
    findings: Path | None = field(default=None, metadata=LATER)
    """MIMIC-CXR-JPG's label table (mimic-cxr-2.0.0-chexpert.csv or -negbio.csv, also as .csv.gz): its 14 findings are
    the labels then, and every row of the split list is read, whatever its severity."""
    only_findings: tuple[str, ...] = field(default=(), metadata=LATER)
    """Columns of that table, where not all 14 are wanted."""
    uncertain: Uncertain = field(default="ignore", metadata=LATER)
    """What -1 counts as in findings: ignore = unknown, zero = absent, one = present. A blank is unknown; in No Finding,
    which is written where nothing else is, it is absent."""
    normalise: bool = False
    """Write numbers as NUMBER and set blanks between tokens, as in all_data.tsv (whose texts are taken as they are)."""
    metadata: Path | None = None
    """The images' metadata table (.csv or .csv.gz with dicom_id, ViewPosition), for results by view."""
    patients: Path | None = None
    """MIMIC-IV's patients table (.csv or .csv.gz with subject_id, gender), for results by sex."""
    same_identifiers: tuple[Same, ...] = field(default=(), metadata=LATER)
    """In what the spellings of one identifier may differ, here and in forget lists: leading-zeros, decimals (7.0, 7),
    case, punctuation, blanks, unicode; never = others that are alike are different people."""
    identifier_map: Path | None = field(default=None, metadata=LATER)
    """CSV with columns written and identifier: a patient's identifier as some row has it, and the one it stands for."""
    key_file: Path | None = None
    """Secret key of the identifier digests; default: $FORGETMI_KEY_FILE, else your own user-level key."""
    name: str = "mimic_cxr"
    """Short name for reports."""

    def load(self) -> Cohort:
        """Read and check the split list, the reports and where the images are.

        Returns:
            The cohort, in the order of the split list.

        Raises:
            CohortError: With all faults: missing columns or folders, malformed or repeated identifiers, image files
                that are not there. None of them holds an identifier, a report or an image path.
        """
        pseudonyms = Pseudonyms(load_key(self.key_file))
        identity = read_identity(self.same_identifiers, self.identifier_map)
        table, severity, cells = read_split_list(self.split, identity)

        # Images and reports
        root = None if self.root is None else branch_folder(self.root, "root")
        if root is None and self.images != "none":
            raise CohortError(
                Fault(
                    "no image folder is given",
                    where="option root",
                    do='Name the folder of images, or read reports alone with images="none".',
                )
            )
        text, notices = self._texts(table, cells, root)

        # Rows with a grade (or an unknown one) and a report; the others are counted
        graded = _has_grade(cells[severity]) | (self.findings is not None)
        reported = np.array([bool(report) for report in text], dtype=bool)
        notices += _left_out(
            table, ~graded, f"have a severity that is no grade ({severity} is not 0 to 3)"
        )
        notices += _left_out(table, graded & ~reported, "have no report")
        included = np.flatnonzero(graded & reported)
        if len(included) == 0:
            raise CohortError(
                Fault(
                    "no row of the split list has a grade and a report",
                    where=table.file,
                    do="Check the options split and reports.",
                ),
                table.faults,
            )

        # From here on, only those rows
        cells = {name: values[included] for name, values in cells.items()}
        text = text[included]

        # Findings of the label table, or grades of the split list or of the reports
        label, findings = cells[severity], {}
        if self.findings is not None:
            names = self.only_findings or CHEXPERT
            findings, note = _findings(self.findings, names, cells["study_id"], identity)
            notices += (note,)
        elif self.labels == "report":
            label, note = _report_labels(cells["study_id"], text, label)
            notices += (note,)

        subgroups, joins = self._subgroups(cells, identity)
        rows = RawRows(
            patient=cells["subject_id"],
            study=cells["study_id"],
            image_id=cells["dicom_id"],
            report=text,
            label=label,
            labels=findings,
            image=self._image_paths(cells),
            split=_splits_of_folds(cells["fold"]),
            subgroups=subgroups,
            where=lambda i: table.where(int(included[i])),
            columns={
                "patient": "subject_id",
                "study": "study_id",
                "image_id": "dicom_id",
                "label": severity,
                "split": "fold",
            },
            faults=table.faults,
            notices=notices + joins,
        )
        return build_cohort(
            rows,
            name=self.name,
            pseudonyms=pseudonyms,
            identity=identity,
            classes=GRADES,
            task="findings" if findings else "grades",
            rules=FindingRules(self.uncertain, blank_is_absent=(NO_FINDING,)),
            image_root=root or Path(),
        )

    def _texts(
        self,
        table: StringTable,
        cells: Mapping[str, Strings],
        root: Path | None,
    ) -> tuple[Strings, tuple[str, ...]]:
        """Each row's report, "" where there is none; and notices."""
        # PhysioNet's archive, or the original authors' table
        if self.reports is not None and is_zip(self.reports):
            source = self.reports
        elif self.reports is not None and self.reports.is_file():
            return _texts_of_table(self.reports, table.file, cells["study_id"])

        # A tree of report files, by default next to the images
        elif self.reports is not None:
            source = branch_folder(self.reports, "reports")
        elif root is not None:
            source = root
        else:
            raise CohortError(
                Fault(
                    "no reports are given",
                    where="option reports",
                    do="Name the folder or zip archive of reports, or all_data.tsv.",
                )
            )
        return read_reports(
            source,
            cells["subject_id"],
            cells["study_id"],
            normalise=self.normalise,
            where=table.where,
        )

    def _image_paths(self, cells: Mapping[str, Strings]) -> Strings | None:
        """Path of each row's image from the folder that holds p10 ... p19."""
        if self.images == "none":
            return None

        # MIMIC-CXR's tree: branch, patient, study, image
        ending = ENDINGS[self.images]
        columns = (cells["subject_id"], cells["study_id"], cells["dicom_id"])
        paths = []
        for subject, study, dicom in zip(*columns, strict=True):
            paths.append(f"p{subject[:2]}/p{subject}/s{study}/{dicom}.{ending}")
        return np.array(paths, dtype=object)

    def _subgroups(
        self, cells: Mapping[str, Strings], identity: Identity
    ) -> tuple[dict[str, Strings], tuple[str, ...]]:
        """The view of each image and the sex of each patient, where their tables are given; and notices."""
        tables = (
            ("view", self.metadata, "dicom_id", "ViewPosition"),
            ("sex", self.patients, "subject_id", "gender"),
        )
        subgroups = {}
        notices: tuple[str, ...] = ()
        for name, path, key, column in tables:
            if path is not None:
                found, notice = looked_up(
                    path, key, column, cells[key], decimals="decimals" in identity.rules
                )
                subgroups[name] = found
                notices += (notice,)
        return subgroups, notices


def _texts_of_table(path: Path, split_file: str, study: Strings) -> tuple[Strings, tuple[str, ...]]:
    """Each row's report from the original authors' table; and notices."""
    # Reports of other studies are counted, not used
    text_of, notices = read_all_data(path)
    notices += (matched(study, text_of, path.name, "study_id"),)
    unused = len(text_of.keys() - set(study))
    if unused:
        notices += (
            f"{unused} reports of {path.name} belong to no study of {split_file} and are not used",
        )
    texts = [text_of.get(identifier, "") for identifier in study]
    return np.array(texts, dtype=object), notices


def _findings(
    path: Path, names: tuple[str, ...], study: Strings, identity: Identity
) -> tuple[dict[str, Strings], str]:
    """Each row's cells of the findings, and how many rows the table has."""
    if faults := column_faults(names):
        raise CohortError(faults)
    return looked_up_columns(path, "study_id", names, study, decimals="decimals" in identity.rules)


def _has_grade(severity: Strings) -> Flags:
    """Per row, whether its severity is a grade or unknown."""
    graded = [cell.lower() in UNKNOWN or cell in _GRADE_CELLS for cell in severity]
    return np.array(graded, dtype=bool)


def _splits_of_folds(fold: Strings) -> Strings:
    """Folds 1 to 5 are the training side; other folds are names of a set."""
    splits = ["train" if cell in TRAINING_FOLDS else cell for cell in fold]
    return np.array(splits, dtype=object)


def _left_out(table: StringTable, out: Flags, why: str) -> tuple[str, ...]:
    """A notice that counts and lists the rows which are left out."""
    rows = table.row[np.flatnonzero(out)]
    if len(rows) == 0:
        return ()
    return (f"{len(rows)} rows of {table.file} {why} and are left out (rows {_ranges(rows)})",)


def _ranges(rows: Ints) -> str:
    """Ascending numbers, neighbours as one range: 2, 5-9."""
    # Cut where the next number is not the neighbour
    gaps = np.flatnonzero(np.diff(rows) != 1)
    ranges = []
    for run in np.split(rows, gaps + 1):
        ranges.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(ranges)


def _report_labels(study: Strings, text: Strings, listed: Strings) -> tuple[Strings, str]:
    """Grades read from the reports, and how many studies agree with the split list.

    Args:
        study, text: n studies and reports.
        listed: n grades of the split list.
    """
    # Each study once, by its first row
    code, _ = codes(study)
    first = np.unique(code, return_index=True)[1]

    grades = []
    agree = 0
    unknown = 0
    for row in first:
        grade = edema_grade(str(text[row]), heart_failure=True)
        grades.append(str(grade))
        agree += str(grade) == str(listed[row]).removesuffix(".0")
        unknown += grade < 0

    note = (
        f"grades were read from the reports: {agree} of {len(first)} studies have the split list's, "
        f"{unknown} have none"
    )
    return np.array(grades, dtype=object)[code], note
