"""The report files of MIMIC-CXR: a folder tree, or PhysioNet's zip archive read in place."""

from __future__ import annotations

import codecs
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from forgetmi.cohort.archives import open_zip, unreadable, zip_member
from forgetmi.cohort.files import MOST, capped
from forgetmi.cohort.folder_files import APPLE, counted, is_apple
from forgetmi.cohort.sections import normalised, selected_text
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.regular_file import read_regular

# Most bytes of one report, of which the largest has 20,000, and of all reports of an archive when inflated
MOST_REPORT = 2**20
MOST_REPORTS = 2**31

# A report in the archive, below any folder
_MEMBER = re.compile(r"(?:(.*)/)?(p\d\d/p\d{8}/s\d{8}\.txt)")

# The bytes of a report by its name, p10/p10000001/s50000001.txt; FileNotFoundError where there is none
Read = Callable[[str], bytes]


def read_reports(
    source: Path,
    subject: Strings,
    study: Strings,
    *,
    normalise: bool,
    where: Callable[[int], str] = lambda i: f"row {i + 1}",
) -> tuple[Strings, tuple[str, ...]]:
    """The report of each row, "" where there is none; and notices.

    Args:
        source: The folder that holds p10 ... p19, or the zip archive of the reports.
        subject, study: n identifiers of digits alone.
        normalise: Whether numbers become NUMBER and tokens are separated; see `forgetmi.cohort.sections.normalised`.
        where: Names the place of the i-th row, for messages.

    Raises:
        CohortError: Reports are there but cannot be read, or the archive is no sound one; all faults at once.
    """
    # Each report once; images of a study share it
    names = []
    for patient, visit in zip(subject, study, strict=True):
        names.append(f"p{patient[:2]}/p{patient}/s{visit}.txt")
    code, distinct = codes(np.array(names, dtype=object))
    rows = np.unique(code, return_index=True)[1]
    places = _Places(rows, where)

    # A folder, or the archive
    if source.is_dir():
        texts, notices = _texts(distinct, _in_folder(source), places)
    else:
        with open_zip(source) as archive:
            members, notices = _members(archive, source.name)
            texts, of_texts = _texts(distinct, _in_zip(archive, members), places)
            notices += of_texts
            notices += counted(
                len(members.keys() - set(distinct)),
                f"reports of {source.name} belong to no study of the split list and are not used",
            )

    # What models read of it
    for number, text in enumerate(texts):
        selected = selected_text(text)
        texts[number] = normalised(selected) if normalise else selected
    return np.array(texts, dtype=object)[code], notices


class _Places:
    """Where each distinct report is named first.

    Args:
        rows: The first row of each of m reports.
        where: Names the place of a row.
    """

    def __init__(self, rows: Ints, where: Callable[[int], str]) -> None:
        self._rows = rows
        self._where = where

    def of(self, number: int) -> str:
        """The place of a report, in words."""
        return self._where(int(self._rows[number]))


def _texts(names: Strings, read: Read, places: _Places) -> tuple[list[str], tuple[str, ...]]:
    """The text of each report, "" where there is none; and what was converted."""
    texts = []
    faults: list[Fault] = []
    converted: Counter[str] = Counter()

    for number, name in enumerate(names):
        text = ""
        try:
            text, how = _decoded(read(str(name)))
            converted[how] += 1
            converted["blank"] += not text.strip()
        except FileNotFoundError:
            pass
        except OSError as error:
            # The system's own message would name the path, and so the patient
            faults.append(_unreadable(places.of(number), error.strerror or type(error).__name__))
        texts.append(text)

    if faults:
        # Without the system's own errors, whose messages name paths
        raise CohortError(
            capped(faults[:MOST], len(faults), "reports that cannot be read")
        ) from None
    notices = (
        *counted(converted["blank"], "report files are blank"),
        *counted(
            converted["replaced"],
            "report files are not UTF-8; what cannot be read became U+FFFD",
        ),
        *counted(converted["utf-16"], "report files are UTF-16 and were read as such"),
    )
    return texts, notices


def _decoded(content: bytes) -> tuple[str, str]:
    """The text of a report, and how it was read.

    Raises:
        OSError: It holds NUL characters.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace"), "utf-16"
    if b"\0" in content:
        raise OSError(0, "it is no text: it holds NUL characters")

    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("utf-8-sig", errors="replace"), "replaced"


def _in_folder(branches: Path) -> Read:
    """Reads reports of a folder tree."""

    def read(name: str) -> bytes:
        return read_regular(branches / name, limit=MOST_REPORT)

    return read


def _in_zip(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> Read:
    """Reads reports of an archive; of all together not more than `MOST_REPORTS` bytes."""
    left = MOST_REPORTS

    def read(name: str) -> bytes:
        nonlocal left
        info = members.get(name)
        if info is None:
            raise FileNotFoundError
        content = zip_member(archive, info, limit=MOST_REPORT)
        left -= len(content)
        if left < 0:
            raise OSError(0, "the reports have more than 2 GiB when unpacked")
        return content

    return read


def _members(
    archive: zipfile.ZipFile, where: str
) -> tuple[dict[str, zipfile.ZipInfo], tuple[str, ...]]:
    """The reports of an archive by name, below whatever folder they lie; and what else it holds.

    Raises:
        CohortError: It holds none, two of one name, or the tree of reports twice.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    apple = others = twice = 0

    for info in archive.infolist():
        # Names are looked up, never used as paths
        name = info.filename.replace("\\", "/")
        match = _MEMBER.fullmatch(name)
        if any(is_apple(part) for part in name.split("/")):
            apple += not name.endswith("/")
        elif match is None:
            others += not name.endswith("/")
        else:
            folders.add(match[1] or "")
            twice += match[2] in members
            members[match[2]] = info

    if len(folders) > 1:
        raise unreadable(where, f"{len(folders)} folders in it hold p10, p11, ...")
    if twice:
        raise unreadable(where, f"{twice} reports are in it twice")
    if not members:
        raise CohortError(
            Fault(
                "the archive holds no report",
                where=where,
                why="none is named p10/p10000001/s50000001.txt",
                do="Name PhysioNet's mimic-cxr-reports.zip.",
            )
        )
    notices = (
        *counted(apple, APPLE),
        *counted(others, f"other files of {where} are no reports and are not read"),
    )
    return members, notices


def _unreadable(where: str, why: str) -> Fault:
    return Fault(
        "a report file cannot be read",
        where=where,
        why=why,
        do="Check that every report can be read.",
    )
