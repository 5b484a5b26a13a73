"""One set of patients that is measured."""

from __future__ import annotations

from dataclasses import dataclass

from forgetmi.core.arrays import Ints
from forgetmi.evaluation.statistics import PatientSample


@dataclass(frozen=True, eq=False)
class MeasuredSet:
    """One set of patients that is measured.

    Args:
        rows: Int[n], all images.
        labelled: Int[m], those with a label.
        all_images: The patients of all images, resampled.
        images: The patients of the labelled images, resampled.
    """

    rows: Ints
    labelled: Ints
    all_images: PatientSample
    images: PatientSample
