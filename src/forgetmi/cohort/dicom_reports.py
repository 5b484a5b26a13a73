"""The reports of DICOM films: a table, or a folder of text files, by image, study or accession number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forgetmi.cohort.files import MOST, capped, read_strings
from forgetmi.cohort.folder_files import files_below
from forgetmi.cohort.identity import canonical, canonical_cells
from forgetmi.cohort.mimic_reports import MOST_REPORT
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.regular_file import read_regular

# What an image is known by, beside its elements: the path of its file, and where they are unique its name and stem.
PATH, NAME, STEM = "path", "name", "stem"

# An image's elements, and the names of columns that hold them in a table of reports; the first that is there counts.
KEYS: Mapping[str, tuple[str, ...]] = {
    "SOPInstanceUID": ("image_id", "SOPInstanceUID"),
    PATH: ("image", "path", "file"),
    "StudyInstanceUID": ("study_id", "StudyInstanceUID"),
    "AccessionNumber": ("accession_number", "AccessionNumber"),
    "PatientID": ("patient_id", "PatientID"),
}

# A column of files may hold any of these.
_OF_FILES = (PATH, NAME, STEM)
_OF_NAMES = ("SOPInstanceUID", STEM, "StudyInstanceUID", "AccessionNumber", "PatientID")


@dataclass(frozen=True, repr=False)
class Reports:
    """Reports by an identifier.

    Args:
        key: Names what they are looked up by.
        elements: The elements that can be it, in the order in which they are tried.
        texts: Identifier to report.
        labels: Identifier to label; empty where none are given.
    """

    key: str
    elements: tuple[str, ...]
    texts: Mapping[str, str]
    labels: Mapping[str, str]

    def key_of(self, film: Mapping[str, str]) -> tuple[str, str]:
        """The identifier under which there is a report of a film, and which element that is; "" where there is none."""
        for element in self.elements:
            identifier = canonical(film[element])
            if identifier and identifier in self.texts:
                return identifier, element
        return "", ""

    def __repr__(self) -> str:
        return f"Reports({len(self.texts)} by {self.key})"


def reports_of_table(path: Path) -> Reports:
    """Reports of a table, by the first identifier that it has a column of.

    Args:
        path: A table with a column of `KEYS`, a column "report", and "label" where there are labels.

    Raises:
        CohortError: It cannot be read, lacks a column, or has two reports of one identifier.
    """
    table = read_strings(path)
    found = []
    for element, names in KEYS.items():
        for name in names:
            if name in table.columns:
                found.append((element, name))

    if not found:
        columns = ", ".join(name for names in KEYS.values() for name in names)
        raise CohortError(
            Fault(
                "the table of reports has no column of images or studies",
                where=table.file,
                do=f"Name a column {columns}.",
            ),
            *table.faults,
        )
    element, column = found[0]
    if missing := table.missing([column, "report"]):
        raise CohortError(missing, table.faults)
    if table.faults:
        raise CohortError(table.faults)

    # A report for each identifier; the same one may stand in several rows.
    keys = canonical_cells(table.identifiers(column))
    texts: dict[str, str] = {}
    labels: dict[str, str] = {}
    faults: list[Fault] = []
    given = table.columns.get("label")
    for row, key in enumerate(keys):
        report = table.columns["report"][row]
        label = "" if given is None else given[row].strip()
        if not key:
            continue
        if texts.setdefault(key, report) != report or labels.setdefault(key, label) != label:
            faults.append(
                Fault(
                    "an earlier row has another report or label of this identifier",
                    where=table.where(row),
                    do="Leave one of the rows out.",
                )
            )
    if faults:
        raise CohortError(capped(faults[:MOST], len(faults), f"rows of {table.file}"))
    elements = _OF_FILES if element == PATH else (element,)
    return Reports(column, elements, texts, {} if given is None else labels)


def reports_of_folder(folder: Path) -> Reports:
    """Reports of text files, by their names without .txt.

    Args:
        folder: The files, at any depth.

    Raises:
        CohortError: Some cannot be read, or two differ that have one name; all faults at once.
    """
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    paths = [path for path in files_below(folder, "reports").paths if path.suffix.lower() == ".txt"]

    for number, path in enumerate(paths, 1):
        where = f"report {number} of {len(paths)}"
        try:
            text = read_regular(path, limit=MOST_REPORT).decode("utf-8-sig")
        except OSError as error:
            faults.append(_unreadable(where, error.strerror or type(error).__name__))
            continue
        except UnicodeDecodeError:
            faults.append(_unreadable(where, "it is not UTF-8"))
            continue
        if "\0" in text:
            faults.append(_unreadable(where, "it is no text: it holds NUL characters"))
            continue
        if texts.setdefault(canonical(path.stem), text) != text:
            faults.append(
                Fault(
                    "two reports have the same name",
                    where=where,
                    do="Leave one of them out.",
                )
            )

    if faults:
        raise CohortError(capped(faults[:MOST], len(faults), "reports that cannot be used"))
    return Reports("the names of the files", _OF_NAMES, texts, {})


def _unreadable(where: str, why: str) -> Fault:
    return Fault("a report cannot be read", where, why, "Replace it by a text file in UTF-8.")
