"""Reads the XML reports of the Indiana University chest X-ray collection (Open-i), and the codes in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from forgetmi.cohort.archives import is_zip, open_zip, tar_members, zip_member
from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.folder_files import APPLE, BROKEN, counted, files_below, is_apple
from forgetmi.cohort.report_xml import XmlError, parse_xml, text_of
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.regular_file import read_regular

# The code of a report that was not coded, and the form of an identifier
NOT_CODED = ("No Indexing",)
_NUMBER = re.compile(r"CXR([0-9]{1,9})")
# The sections of every report; and most bytes of a file, of which the largest has 9,000
SECTIONS = frozenset({"COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION"})
MOST_XML = 2**20


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


@dataclass(frozen=True)
class OpeniReports:
    """What a folder or an archive holds.

    Args:
        reports: All reports, by number.
        notices: What was passed over, counted, in words.
    """

    reports: tuple[OpeniReport, ...]
    notices: tuple[str, ...] = ()


def read_openi_reports(path: Path) -> tuple[OpeniReport, ...]:
    """All reports, by number; see `read_openi`."""
    return read_openi(path).reports


def read_openi(path: Path) -> OpeniReports:
    """Read all reports.

    Args:
        path: A folder with the XML files (at any depth, links are followed), or the tar or zip archive that holds them,
            read in place.

    Returns:
        The reports, and notices that count files that are no XML and sections of other names.

    Raises:
        CohortError: The path holds no XML, or files that are no reports of the collection; all of them at once.
    """
    if not path.exists():
        raise CohortError(
            Fault(
                "there is no such folder or archive",
                where=path.name,
                do="Give the folder of XML reports, or the tar or zip archive as distributed.",
            )
        )

    reports: dict[int, OpeniReport] = {}
    faults: list[Fault] = []
    passed = _Passed()

    # Each file is a report, of a number of its own
    for where, content in _xml_files(path, passed, faults):
        try:
            report = _parsed(content, passed)
        except XmlError as error:
            faults.append(_no_report(where, str(error)))
            continue
        if report.number in reports:
            faults.append(
                Fault("the report occurs twice", where=where, do="Remove one of the two files.")
            )
        else:
            reports[report.number] = report

    # An empty folder, or one of other files
    if not reports and not faults:
        faults.append(
            Fault(
                "no XML report was found",
                where=path.name,
                do="Give the folder of XML reports, or the tar or zip archive as distributed.",
            )
        )
    if faults:
        rest = "files that are no reports, or occur twice"
        raise CohortError(capped(faults[:MOST], len(faults), rest))

    # By number, whatever the order of the files
    in_order = tuple(reports[number] for number in sorted(reports))
    return OpeniReports(in_order, passed.notices())


@dataclass
class _Passed:
    """How much was passed over.

    Args:
        apple, others: Files of macOS, and files that are no XML.
        unread: Sections with text under a name that the collection does not have.
        links: What a folder says about its links.
    """

    apple: int = 0
    others: int = 0
    unread: int = 0
    links: tuple[str, ...] = ()

    def notices(self) -> tuple[str, ...]:
        """The same in words."""
        return (
            *counted(self.apple, APPLE),
            *self.links,
            *counted(self.others, "files beside the reports are no XML and are not read"),
            *counted(self.unread, "sections of reports have other names and are not read"),
        )


def _xml_files(path: Path, passed: _Passed, faults: list[Fault]) -> Iterator[tuple[str, bytes]]:
    """Place and content of each XML file of a folder or an archive; its name may be a person's, and is not shown."""
    number = 0
    for name, content in _files(path, passed):
        parts = Path(name.replace("\\", "/")).parts
        if any(is_apple(part) for part in parts):
            passed.apple += 1
        elif not name.lower().endswith(".xml"):
            passed.others += 1
        else:
            # Counted in the order of their paths, or in that of the archive
            number += 1
            where = f"{path.name}, XML file {number}"
            if isinstance(content, str):
                faults.append(_no_report(where, content))
            else:
                yield where, content


def _files(path: Path, passed: _Passed) -> Iterator[tuple[str, bytes | str]]:
    """Name and content of each file, or the reason why it cannot be read; one that is no XML has no content."""
    # A folder, at any depth
    if path.is_dir():
        found = files_below(path, "path")
        passed.apple += found.apple
        passed.links = counted(found.broken, BROKEN)
        for file in found.paths:
            content: bytes | str = b""
            if file.name.lower().endswith(".xml"):
                content = _content(partial(read_regular, file, limit=MOST_XML))
            yield file.name, content
        return

    # A zip archive; what is no XML is not unpacked
    if is_zip(path):
        with open_zip(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith("/"):
                    continue
                content = b""
                if info.filename.lower().endswith(".xml") and not _is_apple_path(info.filename):
                    read = partial(zip_member, archive, info, limit=MOST_XML)
                    content = _content(read)
                yield info.filename, content
        return

    yield from tar_members(path, limit=MOST_XML)


def _content(read: Callable[[], bytes]) -> bytes | str:
    """The bytes of a file, or why it cannot be read."""
    try:
        return read()
    except OSError as error:
        return error.strerror or type(error).__name__


def _is_apple_path(name: str) -> bool:
    return any(is_apple(part) for part in Path(name).parts)


def _no_report(where: str, why: str) -> Fault:
    return Fault(
        "the file is not a report of the Indiana collection",
        where=where,
        why=why,
        do="Give a folder or archive of its XML reports alone; files are counted by their paths, or as the archive has "
        "them.",
    )


def _parsed(content: bytes, passed: _Passed) -> OpeniReport:
    """The report in an XML file.

    Raises:
        XmlError: It is no report of the collection.
    """
    root = parse_xml(content)

    # Its number: the collection's identifier is CXR<n>
    identity = root.find("uId")
    identifier = "" if identity is None else identity.get("id", "")
    number = _NUMBER.fullmatch(identifier.strip())
    if number is None:
        raise XmlError("it has no uId of the form CXR1")

    # Its sections; a name that occurs twice has both texts
    sections: dict[str, str] = {}
    for part in root.iter("AbstractText"):
        label = part.get("Label", "").strip().rstrip(":").upper()
        text = text_of(part)
        if text and label not in SECTIONS:
            passed.unread += 1
        sections[label] = f"{sections.get(label, '')} {text}".strip()

    return OpeniReport(
        number=int(number[1]),
        findings=sections.get("FINDINGS", ""),
        impression=sections.get("IMPRESSION", ""),
        codes=tuple(text_of(code) for code in root.iter("major")),
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
