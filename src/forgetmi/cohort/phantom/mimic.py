"""Writes a folder shaped like MIMIC-CXR with generated radiographs and reports, to try everything without access."""

from __future__ import annotations

import csv
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from forgetmi.cohort.phantom.image import render, signs_of
from forgetmi.cohort.phantom.mimic_images import enlarged, save_dicom, save_jpeg
from forgetmi.cohort.phantom.mimic_rows import (
    FORGET_PERCENT,
    SPLIT,
    Row,
    forget_name,
    listed_rows,
    made_up_rows,
    write_lists,
)
from forgetmi.cohort.phantom.patient import Patient, draw_patient
from forgetmi.cohort.phantom.report import write_reports
from forgetmi.cohort.sections import normalised, selected_text
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.partial_files import mode_of_new, unfinished_folder
from forgetmi.core.seeding import derive, numpy_generator

ALL_DATA, METADATA, PATIENTS = "all_data.tsv", "metadata.csv", "patients.csv"
# Severities well inside each grade's range, see GRADE_CUTS
_SEVERITY_OF_GRADE = np.array([-0.9, 0.15, 0.85, 1.8])
_SEVERITY_SPREAD = 0.2
_HEADINGS = re.compile(r"\s*\b(EXAMINATION|INDICATION|COMPARISON|FINDINGS|IMPRESSION):\s*")


@dataclass(frozen=True)
class MimicPhantom:
    """Where `make_mimic_phantom` put what.

    Args:
        root: The folder; "files" in it holds images and reports.
        split: The split list.
        all_data: The reports as the original authors' table.
        metadata, patients: View of each image; sex of each patient.
        forget: Percent of all images to the list of patients to forget (nested).
    """

    root: Path
    split: Path
    all_data: Path
    metadata: Path
    patients: Path
    forget: Mapping[int, Path]


def make_mimic_phantom(
    directory: Path,
    *,
    split: Path | None = None,
    patients: int = 30,
    size: tuple[int, int] = (2544, 3056),
    bits: int = 16,
    images: Literal["dicom", "jpg", "none"] = "dicom",
    compressed: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> MimicPhantom:
    """Write a MIMIC-CXR-shaped folder: DICOM or JPEG images, reports, split list, all_data.tsv and forget lists.

    Use it to run everything that reads MIMIC-CXR before, or without, having access. The images and reports are
    computed from random numbers and show nobody. A patient is in memory at a time; the folder appears complete or not
    at all. The same arguments give the same files. At full size an image takes 16 MB.

    Args:
        directory: The folder to make; it must not exist.
        split: A split list whose identifiers, grades and folds to use; default: made-up patients whose identifiers
            begin with 9, which MIMIC's never do.
        patients: Number of made-up patients, 6 or more; without meaning where a split list is given.
        size: Rows and columns of the images, 16 or more each.
        bits: Bits stored of 16 allocated, 8 to 16.
        images: DICOM (MONOCHROME2, explicit VR little endian), 8-bit JPEG as in MIMIC-CXR-JPG, or no images.
        compressed: Whether DICOM pixels are run-length encoded.
        seed: Root seed.
        progress: Called with the number of patients done and the total.

    Returns:
        Where the files are.

    Raises:
        CohortError: The folder exists, an option is out of range, or the split list cannot be used.
    """
    # Everything is checked before anything is written
    faults = _option_faults(bits, patients, size)
    if directory.exists():
        faults.append(Fault("the folder exists already", do="Name a new folder."))
    if faults:
        raise CohortError(faults)

    # The rows of each patient, in the order of the list
    rows = list(made_up_rows(patients, seed)) if split is None else listed_rows(split)
    rows_of: dict[str, list[Row]] = {}
    for row in rows:
        rows_of.setdefault(row.subject, []).append(row)

    with _complete_or_absent(directory) as partial, _tables(partial) as tables:
        write_lists(partial, rows, split, seed)
        for k, patient_rows in enumerate(rows_of.values()):
            patient = _patient(seed, k, patient_rows)
            report_seed = derive(seed, "mimic", k, "report")
            tables.write_patient(partial / "files", patient_rows, patient, seed=report_seed)
            if images != "none":
                # Films are made small, and enlarged one at a time
                films = render(
                    patient,
                    signs_of(patient, ordinal=True),
                    size=min(256, max(64, *size)),
                    seed=derive(seed, "mimic", k, "film"),
                )
                for row, film in zip(patient_rows, films, strict=True):
                    grain = numpy_generator(seed, "mimic", "grain", row.dicom)
                    pixels = enlarged(film, size, bits, grain)
                    folder = _study_folder(partial / "files", row)
                    if images == "jpg":
                        save_jpeg(folder, row, pixels, bits)
                    else:
                        save_dicom(folder, row, pixels, bits, compressed=compressed)
            if progress is not None:
                progress(k + 1, len(rows_of))

    # Where the files are now
    return MimicPhantom(
        root=directory,
        split=directory / SPLIT,
        all_data=directory / ALL_DATA,
        metadata=directory / METADATA,
        patients=directory / PATIENTS,
        forget={percent: directory / forget_name(percent) for percent in FORGET_PERCENT},
    )


def _option_faults(bits: int, patients: int, size: tuple[int, int]) -> list[Fault]:
    """One fault for each option that is out of its range."""
    ranges = (
        ("bits", bits, 8, 16),
        ("patients", patients, 6, 1_000_000),
        ("rows", size[0], 16, 65_535),
        ("columns", size[1], 16, 65_535),
    )
    faults = []
    for name, value, low, high in ranges:
        if not low <= value <= high:
            faults.append(Fault(f"{name} is {value}", why=f"it must be between {low} and {high}"))
    return faults


@contextmanager
def _complete_or_absent(directory: Path) -> Iterator[Path]:
    """A temporary folder that takes the directory's name when the block ends without an error."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(directory) as partial:
        yield partial
        partial.chmod(mode_of_new(0o777))  # temporary folders are private
        partial.rename(directory)


def _patient(seed: int, k: int, rows: list[Row]) -> Patient:
    """A generated patient whose studies and grades are those of the rows."""
    # Studies in the order of the rows, each with one grade
    grade_of = {row.study: row.grade for row in rows}
    studies = list(grade_of)
    label = np.array([grade_of[study] for study in studies], np.int64)
    study = np.array([studies.index(row.study) for row in rows], np.int64)
    m, n = len(studies), len(rows)

    # Severities scattered around those of the grades; the order of the random draws is part of the generator
    draw = numpy_generator(seed, "mimic", k, "severity")
    patient = draw_patient(seed, "mimic", k, ordinal=True)
    severity = _SEVERITY_OF_GRADE[label]
    portable = draw.random(m) < 0.5
    image_severity = severity[study] + _SEVERITY_SPREAD * draw.normal(size=n)
    text_severity = severity + _SEVERITY_SPREAD * draw.normal(size=m)

    # Findings that have nothing to do with the grade
    consolidation = np.where(draw.random(m) < 0.3, draw.uniform(0.4, 1, m), 0.0)
    haze = np.where(draw.random(m) < 0.3, draw.uniform(0.4, 1, m), 0.0)
    place_x = np.where(draw.random(m) < 0.5, -1, 1) * draw.uniform(0.32, 0.56, m)
    place_y = draw.uniform(-0.4, 0.3, m)

    return replace(
        patient,
        study=study,
        label=label,
        portable=portable,
        image_severity=image_severity[:, None],
        text_severity=text_severity[:, None],
        consolidation=consolidation,
        haze=haze,
        place=np.stack([place_x, place_y], axis=1),
    )


@dataclass
class _Tables:
    """The three open tables.

    Args:
        all_data, metadata, patients: Their writers.
        studies: Number of studies written, which all_data.tsv counts.
    """

    all_data: Any
    metadata: Any
    patients: Any
    studies: int = 0

    def write_patient(self, files: Path, rows: list[Row], patient: Patient, *, seed: int) -> None:
        """Reports and table rows of one patient; `files` is the folder of images and reports."""
        # One report a study, as a file and as a row of all_data.tsv
        by_study = {row.study: row for row in rows}
        reports = write_reports(patient, ordinal=True, seed=seed)
        for row, report in zip(by_study.values(), reports, strict=True):
            text = _laid_out(report)
            folder = _study_folder(files, row)
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.with_suffix(".txt").write_text(text, encoding="utf-8")

            plain = normalised(selected_text(text))
            self.all_data.writerow((self.studies, row.grade, row.study, "a", plain))
            self.studies += 1

        # The view of each image, and the patient's sex and age
        for row, study in zip(rows, patient.study, strict=True):
            view = "AP" if patient.portable[study] else "PA"
            self.metadata.writerow((row.dicom, row.subject, row.study, view))
        sex = "F" if patient.female else "M"
        self.patients.writerow((rows[0].subject, sex, patient.age))


@contextmanager
def _tables(folder: Path) -> Iterator[_Tables]:
    """Open the tables for the length of a block; all_data.tsv has tabs and no header."""
    form: dict[str, Any] = {"lineterminator": "\n", "quoting": csv.QUOTE_NONE}
    with (
        (folder / ALL_DATA).open("w", encoding="utf-8", newline="") as all_data,
        (folder / METADATA).open("w", encoding="utf-8", newline="") as metadata,
        (folder / PATIENTS).open("w", encoding="utf-8", newline="") as patients,
    ):
        tables = _Tables(
            all_data=csv.writer(all_data, delimiter="\t", **form),
            metadata=csv.writer(metadata, **form),
            patients=csv.writer(patients, **form),
        )
        tables.metadata.writerow(("dicom_id", "subject_id", "study_id", "ViewPosition"))
        tables.patients.writerow(("subject_id", "gender", "anchor_age"))
        yield tables


def _study_folder(files: Path, row: Row) -> Path:
    return files / f"p{row.subject[:2]}" / f"p{row.subject}" / f"s{row.study}"


def _laid_out(report: str) -> str:
    """The report in MIMIC-CXR's layout: a title, then sections with indented, wrapped lines."""
    parts = _HEADINGS.split(report)[1:]
    sections = []
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        section = f"{heading}:  {body.strip()}"
        sections.append(textwrap.fill(section, 78, initial_indent=" ", subsequent_indent=" "))
    return " " * 33 + "FINAL REPORT\n" + "\n \n".join(sections) + "\n"
