"""Reads the XML reports of the Indiana University chest X-ray collection (Open-i), and the codes in them."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from forgetmi.cohort.files import MOST, capped
from forgetmi.core.errors import CohortError, Fault

# The code of a report that was not coded, and the form of an identifier
NOT_CODED = ("No Indexing",)
_NUMBER = re.compile(r"CXR(\d+)")


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

    # Each file is a report, of a number of its own
    for name, content in _xml_files(path):
        report = _parsed(content)
        if report is None:
            faults.append(
                Fault(
                    "the file is not a report of the Indiana collection",
                    where=name,
                    do="Give a folder or archive of its XML reports alone.",
                )
            )
        elif report.number in reports:
            faults.append(
                Fault("the report occurs twice", where=name, do="Remove one of the two files.")
            )
        else:
            reports[report.number] = report

    # An empty folder, or one of other files
    if not reports and not faults:
        faults.append(
            Fault(
                "no XML report was found",
                where=path.name,
                do="Give the folder of XML reports, or the tar archive as distributed.",
            )
        )
    if faults:
        rest = "files that are no reports, or occur twice"
        raise CohortError(capped(faults[:MOST], len(faults), rest))

    # By number, whatever the order of the files
    return tuple(reports[number] for number in sorted(reports))


def _xml_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each XML file of a folder or a tar archive."""
    try:
        # A folder, at any depth
        if path.is_dir():
            for file in sorted(path.rglob("*.xml")):
                yield file.name, file.read_bytes()
            return

        # The archive is read in place
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.name.endswith(".xml"):
                    continue
                content = archive.extractfile(member)
                if content is not None:  # a folder or a link has none
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


def _parsed(content: bytes) -> OpeniReport | None:
    """The report in an XML file; None = it is no report of the collection."""
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return None

    # Its number: the collection's identifier is CXR<n>
    identity = root.find("uId")
    identifier = "" if identity is None else identity.get("id", "")
    number = _NUMBER.fullmatch(identifier)
    if number is None:
        return None

    # Findings and impression, with single blanks
    sections = {}
    for part in root.iter("AbstractText"):
        sections[part.get("Label", "")] = " ".join((part.text or "").split())

    return OpeniReport(
        number=int(number[1]),
        findings=sections.get("FINDINGS", ""),
        impression=sections.get("IMPRESSION", ""),
        codes=tuple((code.text or "").strip() for code in root.iter("major")),
        images=tuple(image.get("id", "") for image in root.iter("parentImage")),
    )


def coded_grade(codes: tuple[str, ...]) -> int:
    """The edema grade that a report's manual MeSH codes give; 0 where neither edema nor congestion is coded.

    Edema coded alveolar or severe is 3, other edema 2 (interstitial, or of a kind that is not coded), congestion 1;
    -1 where the report has no codes.
    """
    if not codes or codes == NOT_CODED:
        return -1

    # The highest grade among the codes
    grades = [0]
    for code in codes:
        words = code.lower()
        if words.startswith("pulmonary edema"):
            severe = "alveol" in words or "severe" in words
            grades.append(3 if severe else 2)
        elif words.startswith("pulmonary congestion"):
            grades.append(1)
    return max(grades)


def coded_normality(codes: tuple[str, ...]) -> int:
    """0 normal, 1 abnormal, -1 where the report has no codes."""
    if not codes or codes == NOT_CODED:
        return -1
    return int(codes != ("normal",))
