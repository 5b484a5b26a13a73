"""Reads MIMIC-CXR as PhysioNet ships it, with the edema grades and the split list of the original study."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.build import UNKNOWN, RawRows, build_cohort
from forgetmi.cohort.edema_labels import GRADES, edema_grade
from forgetmi.cohort.files import MOST, StringTable, capped, read_strings
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.sections import normalised, selected_text
from forgetmi.core.arrays import Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault

SEVERITY = ("edema_severity", "edeme_severity")  # the published split list has the second spelling
ENDINGS = {"dicom": "dcm", "jpg": "jpg"}
_FORMS = {
    "subject_id": re.compile(r"\d{8}"),
    "study_id": re.compile(r"\d{8}"),
    "dicom_id": re.compile(r"[0-9a-zA-Z][0-9a-zA-Z-]*"),
}
_BRANCH = re.compile(r"p\d\d")
_DEPTH = 5


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
    """The split list (CSV)."""
    root: Path | None = None
    """Folder of images; the folder that holds p10 ... p19, or one up to five levels above it."""
    reports: Path | None = None
    """Folder of reports (as `root`), or the original authors' all_data.tsv; default: the image folder."""
    images: Literal["dicom", "jpg", "none"] = "dicom"
    """Which images the folder holds; "none" = reports alone."""
    labels: Literal["split", "report"] = "split"
    """Grades from the split list, or read from the reports by the labeler (which may leave them unknown)."""
    normalise: bool = False
    """Write numbers as NUMBER and set blanks between tokens, as in all_data.tsv (whose texts are taken as they are)."""
    metadata: Path | None = None
    """The images' metadata table (unpacked CSV with dicom_id, ViewPosition), for results by view."""
    patients: Path | None = None
    """MIMIC-IV's patients table (unpacked CSV with subject_id, gender), for results by sex."""
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
        table = read_strings(self.split)
        severity = next((name for name in SEVERITY if name in table.columns), SEVERITY[0])
        if missing := table.missing([*_FORMS, severity, "fold"]):
            raise CohortError(missing, table.faults)
        cells = {
            name: np.array([cell.strip() for cell in table.columns[name]], dtype=object)
            for name in (*_FORMS, severity, "fold")
        }
        if malformed := _malformed(table, cells):
            raise CohortError(malformed, table.faults)
        root = None if self.root is None else _tree(self.root, "root")
        if root is None and self.images != "none":
            raise CohortError(
                Fault(
                    "no image folder is given",
                    where="option root",
                    do='Name the folder of images, or read reports alone with images="none".',
                )
            )
        text, notices = self._texts(table, cells, root)
        graded = np.array(
            [
                cell.lower() in UNKNOWN or cell in {"0", "1", "2", "3", "0.0", "1.0", "2.0", "3.0"}
                for cell in cells[severity]
            ],
            dtype=bool,
        )
        told = np.array([bool(one) for one in text], dtype=bool)
        notices += _left_out(
            table, ~graded, f"have a severity that is no grade ({severity} is not 0 to 3)"
        )
        notices += _left_out(table, graded & ~told, "have no report")
        kept = np.flatnonzero(graded & told)
        if len(kept) == 0:
            raise CohortError(
                Fault(
                    "no row of the split list has a grade and a report",
                    where=table.file,
                    do="Check the options split and reports.",
                ),
                table.faults,
            )
        kept_cells = {name: values[kept] for name, values in cells.items()}
        label = kept_cells[severity]
        if self.labels == "report":
            label, note = _report_labels(kept_cells["study_id"], text[kept], label)
            notices += note
        return build_cohort(
            RawRows(
                patient=kept_cells["subject_id"],
                study=kept_cells["study_id"],
                image_id=kept_cells["dicom_id"],
                report=text[kept],
                label=label,
                image=self._image_paths(kept_cells),
                split=np.array([_side(fold) for fold in kept_cells["fold"]], dtype=object),
                subgroups=self._subgroups(kept_cells),
                where=lambda i: table.where(int(kept[i])),
                columns={
                    "patient": "subject_id",
                    "study": "study_id",
                    "image_id": "dicom_id",
                    "label": severity,
                    "split": "fold",
                },
                faults=table.faults,
                notices=notices,
            ),
            name=self.name,
            pseudonyms=pseudonyms,
            classes=GRADES,
            ordinal=True,
            image_root=root or Path(),
        )

    def _texts(
        self,
        table: StringTable,
        cells: dict[str, Strings],
        root: Path | None,
    ) -> tuple[Strings, tuple[str, ...]]:
        """Each row's report, "" where there is none."""
        subject, study = cells["subject_id"], cells["study_id"]
        if self.reports is not None and self.reports.is_file():
            found, notices = read_all_data(self.reports)
            unused = len(found.keys() - set(study))
            if unused:
                notices += (
                    f"{unused} reports of {self.reports.name} belong to no study of {table.file} and are not "
                    "used",
                )
            return np.array([found.get(one, "") for one in study], dtype=object), notices
        if self.reports is None and root is None:
            raise CohortError(
                Fault(
                    "no reports are given",
                    where="option reports",
                    do="Name the folder of reports, or all_data.tsv.",
                )
            )
        tree = root if self.reports is None else _tree(self.reports, "reports")
        assert tree is not None
        code, distinct = codes(
            np.array(
                [f"p{s[:2]}/p{s}/s{t}.txt" for s, t in zip(subject, study, strict=True)],
                dtype=object,
            )
        )
        return np.array([self._text(tree / one) for one in distinct], dtype=object)[code], ()

    def _text(self, path: Path) -> str:
        try:
            written = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:  # whose own message would name the path, and so the patient
            raise CohortError(
                Fault(
                    "a report file cannot be read",
                    where="option reports",
                    why=error.strerror or type(error).__name__,
                    do="Check that all of the folder can be read.",
                )
            ) from None
        return normalised(selected_text(written)) if self.normalise else selected_text(written)

    def _image_paths(self, cells: dict[str, Strings]) -> Strings | None:
        if self.images == "none":
            return None
        ending = ENDINGS[self.images]
        return np.array(
            [
                f"p{subject[:2]}/p{subject}/s{study}/{dicom}.{ending}"
                for subject, study, dicom in zip(
                    cells["subject_id"], cells["study_id"], cells["dicom_id"], strict=True
                )
            ],
            dtype=object,
        )

    def _subgroups(self, cells: dict[str, Strings]) -> dict[str, Strings]:
        groups = {}
        for name, path, key, column in (
            ("view", self.metadata, "dicom_id", "ViewPosition"),
            ("sex", self.patients, "subject_id", "gender"),
        ):
            if path is not None:
                table = read_strings(path)
                if missing := table.missing([key, column]):
                    raise CohortError(missing, table.faults)
                known = dict(zip(table.columns[key], table.columns[column], strict=True))
                groups[name] = np.array(
                    [known.get(one, "").strip() for one in cells[key]], dtype=object
                )
        return groups


def read_all_data(path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the original authors' report table: running number, label, study, a letter, text, separated by tabs.

    There is no header and no quoting. A tab within the text becomes a blank (the original reader keeps only what
    follows the last one).

    Args:
        path: The file, UTF-8, any line ends.

    Returns:
        Study to text, and what was converted or skipped.

    Raises:
        CohortError: Lines with fewer than five cells, or two different texts of one study.
    """
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    torn, empty = 0, 0
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = file.read().replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        cells = line.split("\t")
        where = f"{path.name} line {number}"
        if len(cells) < 5:
            faults.append(
                Fault(
                    f"the line has {len(cells)} cells instead of five",
                    where=where,
                    do="Separate number, label, study, letter and text by tabs.",
                )
            )
            continue
        study, text = cells[2].strip(), " ".join(" ".join(cells[4:]).split())
        torn += len(cells) > 5
        empty += not text
        if texts.setdefault(study, text) != text:
            faults.append(
                Fault(
                    "the study has another text on an earlier line",
                    where=where,
                    do="Remove one of them.",
                )
            )
    if faults:
        raise CohortError(capped(faults[:MOST], len(faults), f"lines of {path.name}"))
    counts = ((torn, "reports hold tabs, which became blanks"), (empty, "reports are empty"))
    return texts, tuple(f"{count} {what} ({path.name})" for count, what in counts if count)


def _tree(folder: Path, option: str) -> Path:
    """The folder that holds p10 ... p19, at the folder given or up to five levels below."""
    level = [folder]
    for _ in range(_DEPTH + 1):
        found = []
        below = []
        for one in level:
            children = (
                sorted(child for child in one.iterdir() if child.is_dir()) if one.is_dir() else []
            )
            if any(_BRANCH.fullmatch(child.name) for child in children):
                found.append(one)
            else:
                below += children
        if len(found) > 1:
            raise CohortError(
                Fault(
                    f"{len(found)} folders hold p10, p11, ...",
                    where=f"option {option}",
                    why="e.g. two versions side by side",
                    do="Name one of them.",
                )
            )
        if found:
            return found[0]
        level = below
    raise CohortError(
        Fault(
            "no folder p10, p11, ... was found",
            where=f"option {option}",
            why=f"searched {_DEPTH} levels below the folder",
            do='Name the folder that PhysioNet\'s "files" lies in.',
        )
    )


def _malformed(table: StringTable, cells: dict[str, Strings]) -> list[Fault]:
    faults = []
    for name, form in _FORMS.items():
        wrong = [i for i, cell in enumerate(cells[name]) if not form.fullmatch(cell)]
        what = "the identifier is malformed"
        faults += capped(
            [
                Fault(
                    what,
                    where=f"{table.where(i)}, column {name!r}",
                    do="Use MIMIC-CXR's own identifiers, without p and s in front.",
                )
                for i in wrong[:MOST]
            ],
            len(wrong),
            f"{what} (column {name!r})",
        )
    return faults


def _side(fold: str) -> str:
    return "train" if fold in {"1", "2", "3", "4", "5"} else fold


def _left_out(table: StringTable, out: npt.NDArray[np.bool_], what: str) -> tuple[str, ...]:
    """A notice that counts and lists the rows which are left out."""
    rows = table.row[np.flatnonzero(out)]
    if len(rows) == 0:
        return ()
    return (f"{len(rows)} rows of {table.file} {what} and are left out (rows {_ranges(rows)})",)


def _ranges(rows: npt.NDArray[np.int64]) -> str:
    """Ascending numbers, neighbours as one range: 2, 5-9."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _report_labels(
    study: Strings, text: Strings, listed: Strings
) -> tuple[Strings, tuple[str, ...]]:
    """Grades read from the reports, and how many studies agree with the split list."""
    code, _ = codes(study)
    first = np.unique(code, return_index=True)[1]
    grades = np.array([edema_grade(str(text[i]), heart_failure=True) for i in first], np.int64)
    agree = sum(
        str(grade) == str(listed[i]).removesuffix(".0")
        for grade, i in zip(grades, first, strict=True)
    )
    note = (
        f"grades were read from the reports: {agree} of {len(first)} studies have the split list's, "
        f"{int(np.sum(grades < 0))} have none"
    )
    return np.array([str(grade) for grade in grades], dtype=object)[code], (note,)
