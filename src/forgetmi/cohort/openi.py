"""Reads the Indiana University chest X-ray collection (Open-i): XML reports, with or without their radiographs."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np

from forgetmi.cohort.build import RawRows, build_cohort
from forgetmi.cohort.edema_labels import GRADES, edema_grade
from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault

_NUMBER = re.compile(r"CXR(\d+)")
_IMAGE = re.compile(
    r"(?:CXR)?(\d+)(?:_\d+)?_(IM-[\d-]+)(?:\.dcm)?\.(?:png|jpe?g|dcm)", re.IGNORECASE
)


@dataclass(frozen=True)
class OpeniReport:
    """One report of the collection.

    Args:
        number: The report's number n of "CXR<n>".
        findings, impression: The two sections, "" where empty.
        codes: The manual MeSH codes, e.g. "Pulmonary Congestion/mild"; ("normal",) for a normal film.
        images: Identifiers of its radiographs, e.g. "CXR3_IM-1384-1001".
    """

    number: int
    findings: str
    impression: str
    codes: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def text(self) -> str:
        """Findings and impression."""
        return "\n\n".join(section for section in (self.findings, self.impression) if section)


def read_openi_reports(path: Path) -> tuple[OpeniReport, ...]:
    """Read all reports, by number.

    Args:
        path: A folder with the XML files (at any depth), or the tar archive that holds them, read in place.

    Raises:
        CohortError: The path holds no XML, or files that are no reports of the collection; all of them at once.
    """
    reports: dict[int, OpeniReport] = {}
    faults: list[Fault] = []
    for file, content in _xml_files(path):
        report = _report(content)
        if report is None:
            faults.append(
                Fault(
                    "the file is not a report of the Indiana collection",
                    where=file,
                    do="Give a folder or archive of its XML reports alone.",
                )
            )
        elif report.number in reports:
            faults.append(
                Fault("the report occurs twice", where=file, do="Remove one of the two files.")
            )
        else:
            reports[report.number] = report
    if not reports and not faults:
        faults.append(Fault("there is no XML report", where=path.name, do="Check the path."))
    if faults:
        raise CohortError(
            capped(faults[:MOST], len(faults), "files that are no reports, or twice there")
        )
    return tuple(reports[number] for number in sorted(reports))


def _xml_files(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*.xml")):
                yield file.name, file.read_bytes()
            return
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name.endswith(".xml") else None
                if content is not None:
                    yield Path(member.name).name, content.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise CohortError(
            Fault(
                "the reports cannot be read",
                where=path.name,
                why=type(error).__name__,
                do="Give the folder of XML reports, or the tar archive as distributed.",
            )
        ) from None


def _report(content: bytes) -> OpeniReport | None:
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return None
    identity = root.find("uId")
    number = _NUMBER.fullmatch("" if identity is None else identity.get("id", ""))
    if number is None:
        return None
    section = {
        part.get("Label", ""): " ".join((part.text or "").split())
        for part in root.iter("AbstractText")
    }
    return OpeniReport(
        number=int(number[1]),
        findings=section.get("FINDINGS", ""),
        impression=section.get("IMPRESSION", ""),
        codes=tuple((code.text or "").strip() for code in root.iter("major")),
        images=tuple(image.get("id", "") for image in root.iter("parentImage")),
    )


def coded_grade(codes: tuple[str, ...]) -> int:
    """The edema grade that a report's manual MeSH codes give; 0 where neither edema nor congestion is coded.

    Edema coded alveolar or severe is 3, other edema 2 (interstitial, or of a kind that is not coded), congestion 1;
    -1 where the report has no codes.
    """
    if not codes or codes == ("No Indexing",):
        return -1
    grades = [0]
    for code in (code.lower() for code in codes):
        if code.startswith("pulmonary edema"):
            grades.append(3 if "alveol" in code or "severe" in code else 2)
        elif code.startswith("pulmonary congestion"):
            grades.append(1)
    return max(grades)


def _normality(report: OpeniReport) -> int:
    """0 normal, 1 abnormal, -1 not coded."""
    return (
        -1
        if not report.codes or report.codes == ("No Indexing",)
        else int(report.codes != ("normal",))
    )


@dataclass(frozen=True)
class OpeniCohort:
    """The Indiana University chest X-ray collection, one patient a report.

    No file names patients, so report and patient are taken as one: forgetting is by report, and nobody has several
    studies. Reports without findings and impression are left out and counted. With an image folder there is one row an
    image found (reports without one are left out and counted); without, one row a report.

    Source: Demner-Fushman et al., J Am Med Inform Assoc 2016;23(2):304-310, doi:10.1093/jamia/ocv080. The collection
    is under CC BY-NC-ND 4.0.
    """

    path: Path
    """The reports: a folder of XML files, or the tar archive (read in place)."""
    images: Path | None = None
    """Folder of PNG, JPEG or DICOM images named after their identifiers (at any depth); default: reports alone."""
    labels: Literal["normal", "coded_edema", "report_edema"] = "normal"
    """Classes: normal/abnormal by the manual codes, edema grade by the manual codes, or by the report labeler."""
    show_images: bool = False
    """Whether a report may show example radiographs."""
    key_file: Path | None = None
    """Secret key of the identifier digests; default: $FORGETMI_KEY_FILE, else your own user-level key."""
    name: str = "openi"
    """Short name for reports."""

    def load(self) -> Cohort:
        """Read reports and match images.

        Returns:
            The cohort, by report number, then image.

        Raises:
            CohortError: Unreadable reports, or an image folder without any image of the collection.
        """
        pseudonyms = Pseudonyms(load_key(self.key_file))
        reports = read_openi_reports(self.path)
        told = [report for report in reports if report.text]
        notices = _counted(
            len(reports) - len(told),
            "reports have neither findings nor impression and are left out",
        )
        if self.images is None:
            rows = [(report, f"CXR{report.number}", "") for report in told]
        else:
            files = _image_files(self.images)
            rows = [
                (report, image, file)
                for report in told
                for image in report.images
                if (file := files.get(_image_key(image)))
            ]
            notices += _counted(
                sum(len(report.images) for report in told) - len(rows),
                "images that reports name are not in the image folder and are left out",
            )
            notices += _counted(
                len(told) - len({report.number for report, _, _ in rows}),
                "reports have no image in the image folder and are left out",
            )
        number = np.array([f"CXR{report.number}" for report, _, _ in rows], dtype=object)
        where = [f"CXR report {i + 1} of {len(rows)}" for i in range(len(rows))]
        return build_cohort(
            RawRows(
                patient=number,
                study=number,
                image_id=np.array([image for _, image, _ in rows], dtype=object),
                report=np.array([report.text for report, _, _ in rows], dtype=object),
                label=np.array([str(self._label(report)) for report, _, _ in rows], dtype=object),
                image=None
                if self.images is None
                else np.array([file for _, _, file in rows], dtype=object),
                where=where.__getitem__,
                notices=notices,
            ),
            name=self.name,
            pseudonyms=pseudonyms,
            ordinal=self.labels != "normal",
            show_images=self.show_images,
            classes=("normal", "abnormal") if self.labels == "normal" else GRADES,
        )

    def _label(self, report: OpeniReport) -> int:
        if self.labels == "normal":
            return _normality(report)
        return (
            coded_grade(report.codes) if self.labels == "coded_edema" else edema_grade(report.text)
        )


def _counted(count: int, what: str) -> tuple[str, ...]:
    return (f"{count} {what}",) if count else ()


def _image_key(name: str) -> tuple[str, str]:
    """Report number and image number, whatever spelling: CXR1_1_IM-0001-3001, CXR1_IM-0001-3001, 1_IM-0001-3001."""
    match = _IMAGE.fullmatch(name) or _IMAGE.fullmatch(f"{name}.png")
    return (match[1], match[2].upper()) if match else (name, "")


def _image_files(folder: Path) -> dict[tuple[str, str], str]:
    """Image number to absolute path for all images below a folder."""
    found = {}
    for parent, _, files in os.walk(folder):
        for file in sorted(files):
            if _IMAGE.fullmatch(file):
                found.setdefault(_image_key(file), os.path.join(os.path.abspath(parent), file))
    if not found:
        raise CohortError(
            Fault(
                "the image folder holds no image of the collection",
                do="Images are named after their identifiers, e.g. CXR3_IM-1384-1001.png.",
            )
        )
    return found
