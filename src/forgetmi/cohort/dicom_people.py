"""Whose the DICOM images of a folder are: one person behind an identifier, and one person behind a report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import canonical
from forgetmi.core.errors import CohortError, Fault


@dataclass(frozen=True, repr=False)
class Film:
    """One DICOM image.

    Args:
        path: The file, relative to the folder.
        elements: Element to its text, "" where it has none; and what its file is known by (`dicom_reports.PATH`, ...).
        where: The file in words that identify nobody.
    """

    path: str
    elements: dict[str, str]
    where: str

    def __repr__(self) -> str:
        return f"Film({self.where})"


def check_one_study(films: list[Film], pseudonyms: Pseudonyms) -> None:
    """A report that is known by its patient alone must be of the patient's only study."""
    studies: dict[str, set[str]] = {}
    for film in films:
        patient = canonical(film.elements["PatientID"])
        studies.setdefault(patient, set()).add(canonical(film.elements["StudyInstanceUID"]))

    faults = []
    for patient, of_patient in studies.items():
        if len(of_patient) > 1:
            faults.append(
                Fault(
                    "the patient has several studies, and a report that names none",
                    where=f"patient {pseudonyms.digest('patient', patient)}",
                    why=f"{len(of_patient)} studies",
                    do="Name the reports by study or image.",
                )
            )
    if faults:
        raise CohortError(capped(faults[:MOST], len(faults), "patients with several studies"))


def check_one_patient(films: list[Film], keys: list[str], pseudonyms: Pseudonyms) -> None:
    """A report is of one patient: one's accession number may be another one's PatientID."""
    first: dict[str, str] = {}
    faults: dict[str, Fault] = {}
    for film, key in zip(films, keys, strict=True):
        patient = canonical(film.elements["PatientID"])
        other = first.setdefault(key, patient) if key else patient
        if other != patient:
            faults[key] = Fault(
                "one report fits the images of two patients",
                where=f"patient {pseudonyms.digest('patient', patient)}",
                why=f"the other is patient {pseudonyms.digest('patient', other)}",
                do="Name the reports by study (StudyInstanceUID) or image (SOPInstanceUID).",
            )
    if faults:
        rest = "reports that fit two patients"
        raise CohortError(capped(list(faults.values())[:MOST], len(faults), rest))


def check_people(films: list[Film], pseudonyms: Pseudonyms) -> None:
    """One identifier of two issuers may be two people; one study of two patients is a mistake."""
    issuers: dict[str, str] = {}
    patients: dict[str, str] = {}
    faults: Counter[Fault] = Counter()

    for film in films:
        patient, issuer = canonical(film.elements["PatientID"]), film.elements["IssuerOfPatientID"]
        study = canonical(film.elements["StudyInstanceUID"])
        digest = pseudonyms.digest("patient", patient)
        if issuer and issuers.setdefault(patient, issuer) != issuer:
            fault = Fault(
                "one PatientID has two issuers, and may be two people",
                where=f"patient {digest}",
                why="IssuerOfPatientID differs between files",
                do="Give the patients of one of the issuers other identifiers.",
            )
            faults[fault] += 1
        if study and patients.setdefault(study, patient) != patient:
            fault = Fault(
                "one study (StudyInstanceUID) has two patients",
                where=f"patient {digest}, study {pseudonyms.digest('study', study)}",
                do="Correct PatientID in its files.",
            )
            faults[fault] += 1

    if faults:
        distinct = list(faults)
        raise CohortError(capped(distinct[:MOST], len(distinct), "patients and studies"))
