"""Reads the Indiana University chest X-ray collection (Open-i): XML reports, with or without their radiographs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from forgetmi.cohort.build import build_cohort
from forgetmi.cohort.edema_labels import GRADES, edema_grade
from forgetmi.cohort.folder_files import APPLE, BROKEN, counted, files_below
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.identity import Identity, Same
from forgetmi.cohort.openi_reports import (
    OpeniReport,
    coded_grade,
    coded_normality,
    read_openi,
)
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.serialization import LATER

# The three spellings of an image: with or without CXR, the report's part number and .dcm
_IMAGE = re.compile(
    r"(?:CXR)?(\d+)(?:_\d+)?_(IM-[\d-]+)(?:\.dcm)?\.(?:png|jpe?g|dcm)", re.IGNORECASE
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
    """The reports: a folder of XML files, or the tar or zip archive (read in place)."""
    images: Path | None = None
    """Folder of PNG, JPEG or DICOM images named after their identifiers (at any depth); default: reports alone."""
    labels: Literal["normal", "coded_edema", "report_edema"] = "normal"
    """Classes: normal/abnormal by the manual codes, edema grade by the manual codes, or by the report labeler."""
    show_images: bool = False
    """Whether a report may show example radiographs."""
    same_identifiers: tuple[Same, ...] = field(default=(), metadata=LATER)
    """In what an identifier of a forget list (CXR12) may differ: leading-zeros, decimals, case, punctuation, blanks,
    unicode; never = others that are alike are different people."""
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
        # Reports with any text
        pseudonyms = Pseudonyms(load_key(self.key_file))
        read = read_openi(self.path)
        reports = [report for report in read.reports if report.text]
        notices = read.notices + counted(
            len(read.reports) - len(reports),
            "reports have neither findings nor impression and are left out",
        )

        # One row a report, or one row an image that is there
        if self.images is None:
            pairs = [_Pair(report, f"CXR{report.number}", "") for report in reports]
        else:
            files, passed = _image_files(self.images)
            pairs = _with_images(reports, files)
            notices += passed + _unmatched(reports, read.reports, pairs, files)

        # No file names patients: a report is a patient and a study
        number = [f"CXR{pair.report.number}" for pair in pairs]
        rows = RawRows(
            patient=np.array(number, dtype=object),
            study=np.array(number, dtype=object),
            image_id=np.array([pair.image for pair in pairs], dtype=object),
            report=np.array([pair.report.text for pair in pairs], dtype=object),
            label=np.array([str(self._label(pair.report)) for pair in pairs], dtype=object),
            image=None
            if self.images is None
            else np.array([pair.file for pair in pairs], dtype=object),
            where=lambda i: f"CXR report {i + 1} of {len(pairs)}",
            notices=notices,
        )
        return build_cohort(
            rows,
            name=self.name,
            pseudonyms=pseudonyms,
            identity=Identity(self.same_identifiers),
            classes=("normal", "abnormal") if self.labels == "normal" else GRADES,
            task="classes" if self.labels == "normal" else "grades",
            show_images=self.show_images,
        )

    def _label(self, report: OpeniReport) -> int:
        """The class of a report, -1 = unknown."""
        # Manual codes, or the labeler of reports
        if self.labels == "normal":
            return coded_normality(report.codes)
        if self.labels == "coded_edema":
            return coded_grade(report.codes)
        return edema_grade(report.text)


@dataclass(frozen=True)
class _Pair:
    """A row: a report, an image's identifier, and the image's file ("" = none)."""

    report: OpeniReport
    image: str
    file: str


def _with_images(reports: Sequence[OpeniReport], files: dict[tuple[str, str], str]) -> list[_Pair]:
    """Every image of the reports that is in the folder."""
    pairs = []
    for report in reports:
        for image in report.images:
            # An image that is not there is left out, and counted by the caller
            file = files.get(_image_key(image))
            if file is not None:
                pairs.append(_Pair(report, image, file))
    return pairs


def _unmatched(
    reports: Sequence[OpeniReport],
    all_reports: Sequence[OpeniReport],
    pairs: Sequence[_Pair],
    files: dict[tuple[str, str], str],
) -> tuple[str, ...]:
    """Notices that count images and reports without a file in the folder, and files without a report."""
    # Images that reports name, and reports that have one
    named = sum(len(report.images) for report in reports)
    matched = {pair.report.number for pair in pairs}
    images = counted(
        named - len(pairs), "images that reports name are not in the image folder and are left out"
    )
    without = counted(
        len(reports) - len(matched), "reports have no image in the image folder and are left out"
    )

    # Images that no report names, not even one without text
    known = set()
    for report in all_reports:
        known.update(map(_image_key, report.images))
    of_nobody = counted(
        len(files.keys() - known), "images in the image folder belong to no report and are not used"
    )
    return images + without + of_nobody


def _image_key(name: str) -> tuple[str, str]:
    """Report number and image number, whatever spelling: CXR1_1_IM-0001-3001, CXR1_IM-0001-3001, 1_IM-0001-3001."""
    # With an ending, or as reports write it, without
    match = _IMAGE.fullmatch(name) or _IMAGE.fullmatch(f"{name}.png")
    if match is None:
        return name, ""
    return match[1], match[2].upper()


def _image_files(folder: Path) -> tuple[dict[tuple[str, str], str], tuple[str, ...]]:
    """Report and image number to the absolute path, for all images below a folder; and what was passed over.

    Raises:
        CohortError: There is none, or a folder cannot be read.
    """
    # Of two files of one image the first is used, and the others are counted
    found = files_below(Path(os.path.abspath(folder)), "images")
    paths: dict[tuple[str, str], str] = {}
    again = others = 0
    for path in found.paths:
        if not _IMAGE.fullmatch(path.name):
            others += 1
        elif _image_key(path.name) in paths:
            again += 1
        else:
            paths[_image_key(path.name)] = str(path)

    if not paths:
        raise CohortError(
            Fault(
                "the image folder holds no image of the collection",
                where="option images",
                do="Images are named after their identifiers, e.g. CXR3_IM-1384-1001.png.",
            )
        )
    notices = (
        *counted(found.apple, APPLE),
        *counted(found.broken, BROKEN),
        *counted(others, "files in the image folder are not named as images and are not used"),
        *counted(again, "images are in the image folder again; the first file of each is used"),
    )
    return paths, notices
