"""What was measured of a generated patient beside film and report: age, vital signs and laboratory values.

Each value sees the hidden severity of its study through noise of its own, as label, film and report do; a natriuretic
peptide tells most of the grade, age and sex nothing. Some values are missing, laboratory values more often than others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.cohort.phantom.patient import Array
from forgetmi.core.arrays import Flags
from forgetmi.core.seeding import numpy_generator


@dataclass(frozen=True)
class Measurement:
    """How one value follows from the severity of a study, which has a standard deviation of 1.

    Args:
        mean: In the unit of the value; of a logarithmic one, of its natural logarithm.
        slope: Change with the severity, for one standard deviation.
        own: Standard deviation between patients of one severity, the same at each visit.
        noise: Standard deviation between visits, beside the severity.
        low, high: Range in which values are cut.
        missing: Share of studies without it.
        digits: Decimals that are written.
        logarithmic: Whether the logarithm is drawn.
    """

    mean: float
    slope: float
    own: float
    noise: float
    low: float
    high: float
    missing: float
    digits: int = 0
    logarithmic: bool = False


MEASUREMENTS = {
    "heart_rate": Measurement(84, 7, 9, 8, 40, 180, 0.05),  # beats a minute
    "respiratory_rate": Measurement(19, 2.6, 1.5, 2.2, 8, 45, 0.05),  # breaths a minute
    "oxygen_saturation": Measurement(95, -2.0, 1.2, 1.4, 70, 100, 0.05),  # per cent
    "systolic_pressure": Measurement(132, 4, 15, 12, 70, 230, 0.05),  # mmHg
    "bnp": Measurement(5.6, 0.75, 0.5, 0.4, 5, 50_000, 0.3, logarithmic=True),  # pg/ml
    "creatinine": Measurement(0.1, 0.08, 0.3, 0.1, 0.3, 15, 0.15, 2, True),  # mg/dl
    "haemoglobin": Measurement(12.4, -0.25, 1.4, 0.6, 5, 19, 0.15, 1),  # g/dl
}
# Columns of the table, in order; the name of the sex is read as a category
NUMERIC = ("age_years", *MEASUREMENTS)
CATEGORICAL = ("sex",)


def draw_measurements(
    age: int, severity: Array, seed: int, kind: str, index: int
) -> list[tuple[str, ...]]:
    """Cells of one patient's m studies, in the order of `NUMERIC`; blank = missing.

    Args:
        age: Years.
        severity: Float[m], hidden, of standard deviation 1.
        seed, kind, index: As in `forgetmi.cohort.phantom.patient.draw_patient`; the stream is one of its own.
    """
    draw = numpy_generator(seed, "synthetic", kind, index, "measurements")
    studies = len(severity)
    columns: list[list[str]] = [[str(age)] * studies]
    for measured in MEASUREMENTS.values():
        values = measured.mean + measured.slope * severity
        values = values + measured.own * draw.normal()
        values = values + measured.noise * draw.normal(size=studies)
        if measured.logarithmic:
            values = np.exp(values)
        values = values.clip(measured.low, measured.high)
        is_missing = draw.random(studies) < measured.missing
        columns.append(_cells(values, is_missing, measured.digits))
    return list(zip(*columns, strict=True))


def has_no_film(share: float, seed: int, kind: str, index: int) -> bool:
    """Whether a patient has no film at all, as a share of patients, 0 to 1; no other draw depends on it."""
    if not share:
        return False
    return bool(numpy_generator(seed, "synthetic", kind, index, "no film").random() < share)


def _cells(values: Array, is_missing: Flags, digits: int) -> list[str]:
    """Values as they are written; blank where missing."""
    cells = []
    for value, missing in zip(values, is_missing, strict=True):
        cells.append("" if missing else f"{value:.{digits}f}")
    return cells
