"""Writes the generated cohort: a table, a stack of images and a README, patient by patient."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.cohort.finding_columns import CHEXPERT
from forgetmi.cohort.phantom.findings import draw_findings, edema_severity
from forgetmi.cohort.phantom.image import Signs, render, signs_of
from forgetmi.cohort.phantom.measurements import NUMERIC, draw_measurements, has_no_film
from forgetmi.cohort.phantom.patient import (
    CAUSES,
    GRADES,
    Array,
    Patient,
    draw_patient,
    hidden_severity,
    image_count,
)
from forgetmi.cohort.phantom.report import write_reports
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.partial_files import mode_of_new, unfinished_folder
from forgetmi.core.seeding import derive

# The files of a cohort
TABLE, STACK = "cohort.csv", "images.npy"
# One row per image-report pair; the order of `_patient_rows`. Of findings each has a column instead of the label
BEFORE_LABEL = ("patient_id", "study_id", "image_id", "image", "report")
AFTER_LABEL = ("split", "sex", "age", "view")
COLUMNS = (*BEFORE_LABEL, "label", *AFTER_LABEL)

# A patient's number has six digits
_MOST_PATIENTS = 1_000_000
# Age groups: below this age, under this name
_AGES = ((50, "under 50"), (65, "50 to 64"), (80, "65 to 79"), (200, "80 and over"))
_README = """# A generated cohort

These chest radiographs and reports were computed by forgetmi from random numbers. They show no real patient, were
derived from no real image or text, and are not for clinical use. They are dedicated to the public domain (CC0 1.0).

{table} has one row per image and report; {stack} is the stack of images (uint8, n x {size} x {size}) its `image`
column points into. Options: {patients} patients, {reference} reference patients, seed {seed}, {size} pixels,
{kind} labels.
"""


def make_synthetic(
    directory: Path,
    *,
    patients: int = 270,
    seed: int = 0,
    size: int = 64,
    task: str = "grades",
    reference_patients: int = 0,
    measured: bool = False,
    films_missing: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a cohort: cohort.csv, images.npy and a README.

    One patient at a time is in memory. The folder appears complete or not at all; where two processes make the same
    one, the first to finish wins.

    Args:
        directory: The folder to make; it must not exist, or be empty.
        patients, seed, size, task, reference_patients, measured, films_missing: See `SyntheticCohort` in
            `forgetmi.cohort.synthetic`.
        progress: Called with the number of patients done and the total.

    Raises:
        CohortError: An option is out of its range, or the folder holds something else.
    """
    faults = _option_faults(patients, size, reference_patients)
    if not 0 <= films_missing < 1:
        faults.append(Fault(f"films_missing is {films_missing}", why="it must be 0 to below 1"))
    if faults:
        raise CohortError(faults)

    counts = {"patient": patients, "reference": reference_patients}
    with _complete_or_absent(directory) as partial:
        _write_patients(
            partial,
            counts,
            seed=seed,
            size=size,
            task=task,
            measured=measured,
            films_missing=films_missing,
            progress=progress,
        )
        readme = _README.format(
            table=TABLE,
            stack=STACK,
            size=size,
            patients=patients,
            reference=reference_patients,
            seed=seed,
            kind={"grades": "ordinal", "classes": "nominal"}.get(task, task),
        )
        if measured:
            readme += f"\nMeasured values: {', '.join(NUMERIC)}.\n"
        if films_missing:
            readme += f"\n{films_missing:.0%} of the patients, drawn at random, have no film.\n"
        (partial / "README.md").write_text(readme, encoding="utf-8")


def _option_faults(patients: int, size: int, reference_patients: int) -> list[Fault]:
    """One fault for each option that is out of its range."""
    ranges = (
        ("patients", patients, 1, _MOST_PATIENTS),
        ("size", size, 16, 2048),
        ("reference_patients", reference_patients, 0, _MOST_PATIENTS),
    )
    faults = []
    for name, value, low, high in ranges:
        if not low <= value <= high:
            faults.append(Fault(f"{name} is {value}", why=f"it must be between {low} and {high}"))
    return faults


def _write_patients(
    folder: Path,
    counts: dict[str, int],
    *,
    seed: int,
    size: int,
    task: str,
    measured: bool,
    films_missing: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the stack of images and the table, patient by patient; `counts` is the number of patients of each kind."""
    # The header of the stack needs the number of images before any is made
    images = 0
    for kind, number in _numbered(counts):
        if not has_no_film(films_missing, seed, kind, number):
            images += image_count(seed, kind, number)
    header = {"descr": "|u1", "fortran_order": False, "shape": (images, size, size)}

    with (
        (folder / STACK).open("wb") as stack,
        (folder / TABLE).open("w", encoding="utf-8", newline="") as file,
    ):
        np.lib.format.write_array_header_1_0(stack, header)
        table = csv.writer(file, lineterminator="\n")
        labels = CHEXPERT if task == "findings" else ("label",)
        values = NUMERIC if measured else ()
        table.writerow((*BEFORE_LABEL, *labels, *AFTER_LABEL, *values))

        first_image = 0
        for done, (kind, number) in enumerate(_numbered(counts), start=1):
            drawn = _drawn(seed, kind, number, task)

            # Independent streams, so that a change of the images changes no report
            film_seed = derive(seed, "synthetic", kind, number, "film")
            first: int | None = None
            if not has_no_film(films_missing, seed, kind, number):
                films = render(drawn.patient, drawn.signs, size=size, seed=film_seed)

                # One patient after another, so that memory does not grow
                stack.write(films.tobytes())
                first, first_image = first_image, first_image + len(films)

            cells: list[tuple[str, ...]] = [()] * len(drawn.reports)
            if measured:
                severity = _severity(drawn, seed, kind, number, task)
                cells = draw_measurements(drawn.patient.age, severity, seed, kind, number)
            table.writerows(_patient_rows(drawn, kind, number, first, cells))
            if progress is not None:
                progress(done, sum(counts.values()))


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A generated patient: what the films show, and of each study the report and the label's cells."""

    patient: Patient
    signs: Signs
    reports: list[str]
    labels: list[tuple[str, ...]]


def _drawn(seed: int, kind: str, number: int, task: str) -> _Drawn:
    """One patient of a cohort."""
    if task == "findings":
        found = draw_findings(seed, kind, number)
        cells = [tuple(study[name] for name in CHEXPERT) for study in found.label]
        return _Drawn(found.patient, found.signs, found.reports, cells)

    ordinal = task == "grades"
    patient = draw_patient(seed, kind, number, ordinal=ordinal)
    report_seed = derive(seed, "synthetic", kind, number, "report")
    reports = write_reports(patient, ordinal=ordinal, seed=report_seed)
    names = GRADES if ordinal else CAUSES
    return _Drawn(
        patient,
        signs_of(patient, ordinal=ordinal),
        reports,
        [(names[label],) for label in patient.label],
    )


def _severity(drawn: _Drawn, seed: int, kind: str, number: int, task: str) -> Array:
    """Of each study, the hidden severity of the edema."""
    studies = len(drawn.reports)
    if task == "findings":
        return edema_severity(seed, kind, number, studies)
    return hidden_severity(seed, kind, number, studies, ordinal=task == "grades")


def _numbered(counts: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Kind and number of every patient; numbers begin at 0 within each kind."""
    for kind, count in counts.items():
        for number in range(count):
            yield kind, number


def _patient_rows(
    drawn: _Drawn,
    kind: str,
    number: int,
    first_image: int | None,
    measured: list[tuple[str, ...]],
) -> list[tuple[str, ...]]:
    """The table's rows of one patient, an image each.

    Args:
        drawn: The patient, of kind and number.
        first_image: Where its images begin in the stack; None = it has none.
        measured: Further cells of each study.
    """
    patient = drawn.patient

    # P for patient, R for reference, then the number
    identifier = f"{kind[0].upper()}{number:06d}"

    # The first group that the age is below
    age = next(name for below, name in _AGES if patient.age < below)

    rows = []
    for image, study in enumerate(patient.study):
        rows.append(
            (
                identifier,
                f"{identifier}-S{study:02d}",
                f"{identifier}-I{image:02d}",
                "" if first_image is None else f"{STACK}#{first_image + image}",
                drawn.reports[study],
                *drawn.labels[study],
                "reference" if kind == "reference" else "",
                "F" if patient.female else "M",
                age,
                "AP" if patient.portable[study] else "PA",
                *measured[study],
            )
        )
    return rows


def generator_digest() -> str:
    """A digest of the generator's own source, so that a cache never serves what an older one made."""
    # All of the phantoms, and this file
    here = Path(__file__)
    digest = hashlib.sha256()
    for path in (*sorted((here.parent / "phantom").glob("*.py")), here):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _complete_or_absent(directory: Path) -> Iterator[Path]:
    """A temporary folder that takes the directory's name when the block ends without an error."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CohortError(
            Fault(
                "the folder for the cohort already exists and is not empty",
                do="Name a new or empty folder.",
            )
        )

    directory.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(directory) as partial:
        yield partial

        # Temporary folders are private; the cohort is as readable as any new folder
        partial.chmod(mode_of_new(0o777))
        try:
            partial.rename(directory)
        except OSError:
            # A faster process has made the same cohort: its work stands
            if not (directory / TABLE).exists():
                raise
