"""A folder of DICOM files as a table of images and reports: patients, studies and images by their elements."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from forgetmi.cohort.dicom_people import Film, check_one_patient, check_one_study, check_people
from forgetmi.cohort.dicom_reports import NAME, PATH, STEM, reports_of_folder, reports_of_table
from forgetmi.cohort.edema_labels import GRADES, edema_grade
from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.folder_files import APPLE, BROKEN, counted, files_below
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import canonical
from forgetmi.cohort.joined import matched
from forgetmi.cohort.sections import selected_text
from forgetmi.core.errors import CohortError, Fault
from forgetmi.data.decode import ImageFault, silence
from forgetmi.data.dicom_file import read_elements

COLUMNS = ("patient_id", "study_id", "image_id", "image", "report", "label")

_NEEDED = ("PatientID", "SOPInstanceUID")
_ELEMENTS = [*_NEEDED, "StudyInstanceUID", "IssuerOfPatientID", "AccessionNumber"]

_NO_STUDY = "images lack StudyInstanceUID: each is a study of its own"


@dataclass(frozen=True, repr=False)
class DicomTable:
    """The table of a folder; it holds identifiers and reports.

    Args:
        text: CSV with the columns `COLUMNS`.
        images: Number of its rows.
        notices: What was chosen and left out, with counts.
        graded: Whether the labels are the edema grades of the reports.
    """

    text: str
    images: int
    notices: tuple[str, ...]
    graded: bool

    def __repr__(self) -> str:
        return f"DicomTable({len(self.notices)} notices)"


def dicom_table(
    folder: Path,
    reports: Path,
    *,
    pseudonyms: Pseudonyms,
    progress: Callable[[int, int], None] | None = None,
) -> DicomTable:
    """Make the table of a folder of DICOM files and their reports.

    Only these elements of a file are read: PatientID and its issuer, StudyInstanceUID, SOPInstanceUID, AccessionNumber.

    Args:
        folder: The images, at any depth; other files are passed over and counted.
        reports: A folder of text files named by SOPInstanceUID, StudyInstanceUID, AccessionNumber, PatientID or the
            image file's own name; or a table with a column of one of these (`forgetmi.cohort.dicom_reports.KEYS`), a
            column "report" and, if you have one, a column "label".
        pseudonyms: Makes the digests that name files in messages.
        progress: Called with (files read, total number of files).

    Returns:
        The table, and what is to be said of it. Images without a report are left out and counted. Without a column
        "label" the labels are the edema grades that the reports' words give.

    Raises:
        CohortError: Files cannot be read or lack an identifier (all of them are listed, by number and digest), there is
            no image, or no report matches.
    """
    films, notices = _films(folder, pseudonyms, progress)
    check_people(films, pseudonyms)

    # What is said about each film, by whichever identifier the reports have.
    source = reports_of_folder(reports) if reports.is_dir() else reports_of_table(reports)
    found = [source.key_of(film.elements) for film in films]
    keys = np.array([key for key, _ in found], dtype=object)
    notices += (matched(keys, source.texts, reports.name, source.key),)

    check_one_patient(films, keys.tolist(), pseudonyms)
    by_patient = [
        film for film, (_, element) in zip(films, found, strict=True) if element == "PatientID"
    ]
    check_one_study(by_patient, pseudonyms)
    kept = [(film, key) for film, key in zip(films, keys, strict=True) if source.texts.get(key)]
    notices += counted(len(films) - len(kept), "images have no report and are left out")

    graded = not source.labels
    rows = []
    for film, key in kept:
        report = selected_text(source.texts[key])
        label = GRADES[edema_grade(report)] if graded else source.labels.get(key, "")
        patient, image = (canonical(film.elements[name]) for name in _NEEDED)
        study = canonical(film.elements["StudyInstanceUID"]) or image
        rows.append([patient, study, image, film.path, report, label])
    return DicomTable(_csv(rows), len(rows), notices, graded)


def _films(
    folder: Path, pseudonyms: Pseudonyms, progress: Callable[[int, int], None] | None
) -> tuple[list[Film], tuple[str, ...]]:
    """All DICOM images below a folder, each once; and what was passed over."""
    below = files_below(folder, "from-dicom")
    films: dict[str, Film] = {}
    faults: list[Fault] = []
    others = copies = 0

    for number, path in enumerate(below.paths, 1):
        relative = path.relative_to(folder).as_posix()
        where = (
            f"file {number} of {len(below.paths)}, digest {pseudonyms.digest('image', relative)}"
        )
        try:
            film = _film(path, relative, where)
        except ImageFault as error:
            faults.append(Fault(error.fault.what, where, error.fault.why, error.fault.do))
            continue
        if progress is not None:
            progress(number, len(below.paths))
        if film is None:
            others += 1
            continue

        missing = [name for name in _NEEDED if not canonical(film.elements[name])]
        if missing:
            faults.append(_lacking(missing, where))
            continue

        # A disc or an archive may hold an image twice; two images of one number are a mistake.
        image = canonical(film.elements["SOPInstanceUID"])
        known = films.setdefault(image, film)
        if known is not film:
            copies += 1
            if any(known.elements[name] != film.elements[name] for name in _ELEMENTS):
                faults.append(_two_images(where, known))

    if faults:
        raise CohortError(capped(faults[:MOST], len(faults), "DICOM files that cannot be used"))
    if not films:
        raise CohortError(
            Fault(
                "the folder holds no DICOM image",
                where="option from-dicom",
                why=f"{len(below.paths)} files were looked at",
                do="Name the folder of the DICOM files.",
            )
        )
    _name(list(films.values()))
    studyless = sum(not film.elements["StudyInstanceUID"] for film in films.values())
    return list(films.values()), (
        *counted(studyless, _NO_STUDY),
        *counted(others, "files are no DICOM images and are passed over"),
        *counted(copies, "files repeat an image (SOPInstanceUID) and are passed over"),
        *counted(below.apple, APPLE),
        *counted(below.broken, BROKEN),
    )


def _film(path: Path, relative: str, where: str) -> Film | None:
    """One file's elements; None where it is no DICOM image."""
    with silence():
        found = read_elements(path, _ELEMENTS)
        if found is None:
            return None
        elements = {PATH: relative}
        for name in _ELEMENTS:
            elements[name] = _text(found.get(name))
    return Film(relative, elements, where)


def _text(value: object) -> str:
    """The value of an element; a backslash in an identifier has made several values of it."""
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "\\".join(map(str, value))
    return str(value)


def _name(films: list[Film]) -> None:
    """Name and stem of each file, where no other file has them."""
    names = Counter(PurePosixPath(film.path).name for film in films)
    stems = Counter(PurePosixPath(film.path).stem for film in films)
    for film in films:
        path = PurePosixPath(film.path)
        film.elements[NAME] = path.name if names[path.name] == 1 else ""
        film.elements[STEM] = path.stem if stems[path.stem] == 1 else ""


def _lacking(missing: list[str], where: str) -> Fault:
    return Fault(
        f"the DICOM image lacks {', '.join(missing)}",
        where,
        "nobody could tell whose image it is",
        "Add the element, or leave the file out of the folder.",
    )


def _two_images(where: str, known: Film) -> Fault:
    return Fault(
        "two files have one SOPInstanceUID and different patients or studies",
        where,
        f"the other is {known.where}",
        "Correct the element, or leave one of them out.",
    )


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()
