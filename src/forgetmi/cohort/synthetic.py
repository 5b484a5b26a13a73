"""The embedded cohort: generated chest radiographs and reports of any number of patients; no real patient is in it."""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.cohort.phantom import atlas
from forgetmi.cohort.phantom import image as phantom_image
from forgetmi.cohort.phantom import patient as phantom_patient
from forgetmi.cohort.phantom import report as phantom_report
from forgetmi.cohort.phantom.image import render, signs_of
from forgetmi.cohort.phantom.patient import CAUSES, GRADES, draw_patient, image_count
from forgetmi.cohort.phantom.report import write_reports
from forgetmi.cohort.table import TableCohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.files import default_cache
from forgetmi.core.seeding import derive
from forgetmi.core.types import Cohort

TABLE, STACK = "cohort.csv", "images.npy"
COLUMNS = (
    "patient_id",
    "study_id",
    "image_id",
    "image",
    "report",
    "label",
    "split",
    "sex",
    "age",
    "view",
)
_MOST_PATIENTS = 1_000_000
_AGES = ((50, "under 50"), (65, "50 to 64"), (80, "65 to 79"), (200, "80 and over"))
_README = """# A generated cohort

These chest radiographs and reports were computed by forgetmi from random numbers. They show no real patient, were
derived from no real image or text, and are not for clinical use. They are dedicated to the public domain (CC0 1.0).

{table} has one row per image and report; {stack} is the stack of images (uint8, n x {size} x {size}) its `image`
column points into. Options: {patients} patients, {reference} reference patients, seed {seed}, {size} pixels,
{kind} labels.
"""


@dataclass(frozen=True)
class SyntheticCohort:
    """Generated radiographs and reports, made once and then read from a cache.

    Use it to try anything without data: a compact model memorises its training patients while it stays far from
    perfect on others, which is the regime in which forgetting can be measured.
    """

    patients: int = 270
    """Number of patients, 1 to 1,000,000; 270 have about 1,200 images."""
    seed: int = 0
    """Root seed; a patient depends on the seed, its own number, the image size and the kind of labels alone."""
    size: int = 64
    """Side of the square images in pixels, 16 to 2048."""
    ordinal: bool = True
    """True: four grades of edema; False: four causes without an order."""
    reference_patients: int = 0
    """Number of additional never-seen patients (split "reference"), 0 to 1,000,000; they change no other patient."""
    cache: Path | None = None
    """Folder to keep generated cohorts in; default: $FORGETMI_CACHE, else forgetmi in the user's cache folder."""
    key_file: Path | None = None
    """Secret key of the identifier digests; default: $FORGETMI_KEY_FILE, else your own user-level key."""

    def load(self) -> Cohort:
        """Generate the cohort unless the cache has it, and read it.

        Raises:
            CohortError: An option is out of its range.
        """
        options = {
            "patients": self.patients,
            "seed": self.seed,
            "size": self.size,
            "ordinal": self.ordinal,
            "reference_patients": self.reference_patients,
        }
        digest = hashlib.sha256(f"{sorted(options.items())} {_generator()}".encode()).hexdigest()[
            :24
        ]
        directory = (self.cache or default_cache()) / "synthetic" / digest
        if not (directory / TABLE).exists():
            make_synthetic(directory, **options)
        return synthetic_table(directory, ordinal=self.ordinal, key_file=self.key_file).load()


def synthetic_table(
    directory: Path, *, ordinal: bool = True, key_file: Path | None = None
) -> TableCohort:
    """How to read what `make_synthetic` wrote."""
    return TableCohort(
        path=directory / TABLE,
        split="split",
        subgroups=("sex", "age", "view"),
        classes=GRADES if ordinal else CAUSES,
        ordinal=ordinal,
        show_images=True,
        key_file=key_file,
        name="synthetic",
    )


def make_synthetic(
    directory: Path,
    *,
    patients: int = 270,
    seed: int = 0,
    size: int = 64,
    ordinal: bool = True,
    reference_patients: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a cohort: cohort.csv, images.npy and a README.

    One patient at a time is in memory. The folder appears complete or not at all; where two processes make the same
    one, the first to finish wins.

    Args:
        directory: The folder to make; it must not exist, or be empty.
        patients, seed, size, ordinal, reference_patients: See `SyntheticCohort`.
        progress: Called with the number of patients done and the number of all.

    Raises:
        CohortError: An option is out of its range, or the folder holds something else.
    """
    faults = [
        Fault(f"{name} is {value}", why=f"it must lie between {low} and {high}")
        for name, value, low, high in (
            ("patients", patients, 1, _MOST_PATIENTS),
            ("size", size, 16, 2048),
            ("reference_patients", reference_patients, 0, _MOST_PATIENTS),
        )
        if not low <= value <= high
    ]
    if faults:
        raise CohortError(faults)
    people = [("patient", patients), ("reference", reference_patients)]
    total = sum(image_count(seed, kind, k) for kind, count in people for k in range(count))
    with _complete_or_absent(directory) as partial:
        with (
            (partial / STACK).open("wb") as stack,
            (partial / TABLE).open("w", encoding="utf-8", newline="") as table,
        ):
            np.lib.format.write_array_header_1_0(
                stack, {"descr": "|u1", "fortran_order": False, "shape": (total, size, size)}
            )
            rows = csv.writer(table, lineterminator="\n")
            rows.writerow(COLUMNS)
            image, done = 0, 0
            for kind, count in people:
                for k in range(count):
                    films, cells = _patient(seed, kind, k, size=size, ordinal=ordinal)
                    stack.write(films.tobytes())
                    rows.writerows(
                        (*ids, f"{STACK}#{image + i}", *rest) for i, (ids, rest) in enumerate(cells)
                    )
                    image += len(films)
                    done += 1
                    if progress is not None:
                        progress(done, patients + reference_patients)
        (partial / "README.md").write_text(
            _README.format(
                table=TABLE,
                stack=STACK,
                size=size,
                patients=patients,
                reference=reference_patients,
                seed=seed,
                kind="ordinal" if ordinal else "nominal",
            ),
            encoding="utf-8",
        )


def _patient(
    seed: int,
    kind: str,
    k: int,
    *,
    size: int,
    ordinal: bool,
) -> tuple[np.ndarray, list[tuple[tuple[str, str, str], tuple[str, ...]]]]:
    """Images and table cells (before and after the image column) of one patient."""
    patient = draw_patient(seed, kind, k, ordinal=ordinal)
    film, report = (derive(seed, "synthetic", kind, k, purpose) for purpose in ("film", "report"))
    films = render(patient, signs_of(patient, ordinal=ordinal), size=size, seed=film)
    reports = write_reports(patient, ordinal=ordinal, seed=report)
    classes = GRADES if ordinal else CAUSES
    person = f"{kind[0].upper()}{k:06d}"
    age = next(name for below, name in _AGES if patient.age < below)
    cells = []
    for i, j in enumerate(patient.study):
        ids = (person, f"{person}-S{j:02d}", f"{person}-I{i:02d}")
        cells.append(
            (
                ids,
                (
                    reports[j],
                    classes[patient.label[j]],
                    "reference" if kind == "reference" else "",
                    "F" if patient.female else "M",
                    age,
                    "AP" if patient.portable[j] else "PA",
                ),
            )
        )
    return films, cells


def _generator() -> str:
    """A digest of the generator's own source, so that a cache never serves what an older one made."""
    digest = hashlib.sha256()
    for module in (phantom_patient, atlas, phantom_image, phantom_report):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


@contextmanager
def _complete_or_absent(directory: Path) -> Iterator[Path]:
    """A temporary folder that takes the directory's name when the block ends without an error."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CohortError(Fault("the folder for the cohort is not empty", do="Name a new folder."))
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=directory.parent))
    try:
        yield partial
        partial.chmod(0o755)
        try:
            partial.rename(directory)
        except OSError:
            if not (directory / TABLE).exists():  # not the work of a process that was faster
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
