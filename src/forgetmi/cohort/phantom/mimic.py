"""Writes a folder shaped like MIMIC-CXR with generated radiographs and reports, to try everything without access."""

from __future__ import annotations

import csv
import re
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.files import read_strings
from forgetmi.cohort.mimic_cxr import SEVERITY
from forgetmi.cohort.phantom.image import render, signs_of
from forgetmi.cohort.phantom.patient import Patient, draw_patient
from forgetmi.cohort.phantom.report import write_reports
from forgetmi.cohort.sections import normalised, selected_text
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.seeding import derive, numpy_generator

SPLIT, ALL_DATA, METADATA, PATIENTS = "split.csv", "all_data.tsv", "metadata.csv", "patients.csv"
FORGET_PERCENT = (3, 6, 10)
_FIRST_SUBJECT, _FIRST_STUDY = 90_000_001, 95_000_001  # MIMIC's own begin with 1 and 5
_SEVERITY_OF_GRADE = np.array(
    [-0.9, 0.15, 0.85, 1.8]
)  # well inside each grade's range, see GRADE_CUTS
_SEVERITY_SPREAD = 0.2
_GRAIN = 0.004
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


@dataclass(frozen=True)
class _Row:
    subject: str
    study: str
    dicom: str
    grade: int
    fold: str

    def cells(self) -> tuple[str, ...]:
        return self.subject, self.study, self.dicom, str(self.grade), self.fold


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
        progress: Called with the number of patients done and the number of all.

    Returns:
        Where the files are.

    Raises:
        CohortError: The folder exists, an option is out of range, or the split list cannot be used.
    """
    faults = [
        Fault(f"{name} is {value}", why=f"it must lie between {low} and {high}")
        for name, value, low, high in (
            ("bits", bits, 8, 16),
            ("patients", patients, 6, 1_000_000),
            ("rows", size[0], 16, 65_535),
            ("columns", size[1], 16, 65_535),
        )
        if not low <= value <= high
    ]
    if directory.exists():
        faults.append(Fault("the folder exists already", do="Name a new folder."))
    if faults:
        raise CohortError(faults)
    rows = list(_made_up(patients, seed)) if split is None else _listed(split)
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=directory.parent))
    try:
        _write_lists(partial, rows, split, seed)
        people: dict[str, list[_Row]] = {}
        for row in rows:
            people.setdefault(row.subject, []).append(row)
        save = {"dicom": _save_dicom, "jpg": _save_jpeg}.get(images)
        with ExitStack() as files:
            tables = [
                csv.writer(
                    files.enter_context((partial / name).open("w", encoding="utf-8", newline="")),
                    lineterminator="\n",
                    delimiter=mark,
                    quoting=csv.QUOTE_NONE,
                )
                for name, mark in ((ALL_DATA, "\t"), (METADATA, ","), (PATIENTS, ","))
            ]
            tables[1].writerow(("dicom_id", "subject_id", "study_id", "ViewPosition"))
            tables[2].writerow(("subject_id", "gender", "anchor_age"))
            written = 0
            for k, (subject, own) in enumerate(people.items()):
                patient = _patient(seed, k, own)
                written = _write_patient(
                    partial / "files",
                    subject,
                    own,
                    patient,
                    tables,
                    written,
                    seed=derive(seed, "mimic", k, "report"),
                )
                if save is not None:
                    films = render(
                        patient,
                        signs_of(patient, ordinal=True),
                        size=min(256, max(64, *size)),
                        seed=derive(seed, "mimic", k, "film"),
                    )
                    for i, row in enumerate(own):
                        pixels = _enlarged(
                            films[i], size, bits, numpy_generator(seed, "mimic", "grain", row.dicom)
                        )
                        save(_study_folder(partial / "files", row), row, pixels, bits, compressed)
                if progress is not None:
                    progress(k + 1, len(people))
        partial.chmod(0o755)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return MimicPhantom(
        directory,
        directory / SPLIT,
        directory / ALL_DATA,
        directory / METADATA,
        directory / PATIENTS,
        {percent: directory / _forget_name(percent) for percent in FORGET_PERCENT},
    )


def _made_up(patients: int, seed: int) -> Iterator[_Row]:
    """Rows of made-up patients; one in ten is in TEST."""
    study = _FIRST_STUDY
    for k in range(patients):
        patient = draw_patient(seed, "mimic", k, ordinal=True)
        fold = "TEST" if k % 10 == 5 else str(1 + k % 5)
        for i, j in enumerate(patient.study):
            dicom = "-".join(
                f"{derive(seed, 'mimic', 'dicom', k, i, part) & 0xFFFFFFFF:08x}"
                for part in range(5)
            )
            yield _Row(str(_FIRST_SUBJECT + k), str(study + j), dicom, int(patient.label[j]), fold)
        study += len(patient.label)


def _listed(split: Path) -> list[_Row]:
    table = read_strings(split)
    severity = next((name for name in SEVERITY if name in table.columns), SEVERITY[0])
    names = ("subject_id", "study_id", "dicom_id", severity, "fold")
    if missing := table.missing(names):
        raise CohortError(missing, table.faults)
    cells = list(zip(*(table.columns[name] for name in names), strict=True))
    faults = [
        *table.faults,
        *(
            Fault("the row is not of a split list", where=table.where(i))
            for i, row in enumerate(cells)
            if not (re.fullmatch(r"\d{8} \d{8} [\w-]+ [0-3]", " ".join(row[:4])))
        ),
    ]
    if faults:
        raise CohortError(faults)
    return [
        _Row(subject, study, dicom, int(grade), fold)
        for subject, study, dicom, grade, fold in cells
    ]


def _write_lists(folder: Path, rows: list[_Row], split: Path | None, seed: int) -> None:
    """The split list (a given one byte for byte) and nested lists of whole patients to forget."""
    if split is None:
        _write_rows(folder / SPLIT, SEVERITY[1], rows, "\r\n")
    else:
        shutil.copyfile(split, folder / SPLIT)
    images: dict[str, int] = {}
    for row in rows:
        if row.fold != "TEST":
            images[row.subject] = images.get(row.subject, 0) + 1
    order = numpy_generator(seed, "mimic", "forget").permutation(len(images))
    subjects = np.array(list(images))[order]
    share = 100 * np.cumsum([images[subject] for subject in subjects]) / len(rows)
    for percent in FORGET_PERCENT:
        chosen = set(subjects[: 1 + int(np.argmin(np.abs(share - percent)))])
        _write_rows(
            folder / _forget_name(percent),
            SEVERITY[0],
            [row for row in rows if row.subject in chosen],
            "\n",
        )


def _forget_name(percent: int) -> str:
    return f"forget_set_{percent}per.csv"


def _write_rows(path: Path, severity: str, rows: Iterable[_Row], line_end: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator=line_end)
        table.writerow(("subject_id", "study_id", "dicom_id", severity, "fold"))
        table.writerows(row.cells() for row in rows)


def _patient(seed: int, k: int, rows: list[_Row]) -> Patient:
    """A generated patient whose studies and grades are those of the rows."""
    studies = list(dict.fromkeys(row.study for row in rows))
    grade = {row.study: row.grade for row in rows}
    label = np.array([grade[study] for study in studies], np.int64)
    draw = numpy_generator(seed, "mimic", k, "severity")
    m, n = len(studies), len(rows)
    study = np.array([studies.index(row.study) for row in rows], np.int64)
    told = _SEVERITY_OF_GRADE[label]
    return replace(
        draw_patient(seed, "mimic", k, ordinal=True),
        study=study,
        label=label,
        portable=draw.random(m) < 0.5,
        image_severity=(told[study] + _SEVERITY_SPREAD * draw.normal(size=n))[:, None],
        text_severity=(told + _SEVERITY_SPREAD * draw.normal(size=m))[:, None],
        consolidation=np.where(draw.random(m) < 0.3, draw.uniform(0.4, 1, m), 0.0),
        haze=np.where(draw.random(m) < 0.3, draw.uniform(0.4, 1, m), 0.0),
        place=np.stack(
            [
                np.where(draw.random(m) < 0.5, -1, 1) * draw.uniform(0.32, 0.56, m),
                draw.uniform(-0.4, 0.3, m),
            ],
            axis=1,
        ),
    )


def _write_patient(
    files: Path,
    subject: str,
    rows: list[_Row],
    patient: Patient,
    tables: list[Any],
    written: int,
    *,
    seed: int,
) -> int:
    """Reports and table rows of one patient; returns the running number of the next study."""
    by_study = {row.study: row for row in rows}
    reports = write_reports(patient, ordinal=True, seed=seed)
    for row, report in zip(by_study.values(), reports, strict=True):
        folder = _study_folder(files, row)
        folder.parent.mkdir(parents=True, exist_ok=True)
        text = _laid_out(report)
        folder.with_suffix(".txt").write_text(text, encoding="utf-8")
        tables[0].writerow((written, row.grade, row.study, "a", normalised(selected_text(text))))
        written += 1
    for row, j in zip(rows, patient.study, strict=True):
        tables[1].writerow((row.dicom, subject, row.study, "AP" if patient.portable[j] else "PA"))
    tables[2].writerow((subject, "F" if patient.female else "M", patient.age))
    return written


def _study_folder(files: Path, row: _Row) -> Path:
    return files / f"p{row.subject[:2]}" / f"p{row.subject}" / f"s{row.study}"


def _laid_out(report: str) -> str:
    """The report in MIMIC-CXR's layout: a title, then sections with indented, wrapped lines."""
    parts = _HEADINGS.split(report)[1:]
    sections = [
        textwrap.fill(f"{heading}:  {body.strip()}", 78, initial_indent=" ", subsequent_indent=" ")
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    ]
    return " " * 33 + "FINAL REPORT\n" + "\n \n".join(sections) + "\n"


def _enlarged(
    film: npt.NDArray[np.uint8],
    size: tuple[int, int],
    bits: int,
    draw: np.random.Generator,
) -> npt.NDArray[np.uint16]:
    """A film at full size and depth, with a little grain."""
    from PIL import Image  # imported late: only this writer needs Pillow

    large = np.asarray(
        Image.fromarray(film.astype(np.float32)).resize(
            (size[1], size[0]), Image.Resampling.BICUBIC
        )
    )
    values = large / 255 + _GRAIN * draw.standard_normal(size, dtype=np.float32)
    return (np.clip(values, 0, 1) * (2**bits - 1) + 0.5).astype(np.uint16)


def _save_jpeg(
    folder: Path, row: _Row, pixels: npt.NDArray[np.uint16], bits: int, compressed: bool
) -> None:
    folder.mkdir(exist_ok=True)
    from PIL import Image  # imported late: only this writer needs Pillow

    eight = (pixels >> (bits - 8)).astype(np.uint8)
    Image.fromarray(eight).save(folder / f"{row.dicom}.jpg", quality=95)


def _save_dicom(
    folder: Path, row: _Row, pixels: npt.NDArray[np.uint16], bits: int, compressed: bool
) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import (
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        RLELossless,
        generate_uid,
    )

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["forgetmi", row.dicom])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{row.dicom}.dcm"
    image = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    image.StudyInstanceUID = generate_uid(entropy_srcs=["forgetmi", row.study])
    image.SeriesInstanceUID = generate_uid(entropy_srcs=["forgetmi", row.dicom, "series"])
    image.PatientID, image.StudyID, image.Modality = row.subject, row.study, "DX"
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = (
        1,
        "MONOCHROME2",
        0,
    )
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, bits, bits - 1
    image.PixelData = pixels.astype("<u2").tobytes()
    image["PixelData"].VR = "OW"
    if compressed:
        image.compress(RLELossless, generate_instance_uid=False)
    folder.mkdir(exist_ok=True)
    image.save_as(path, enforce_file_format=True)
