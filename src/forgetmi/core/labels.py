"""Which labels are known: the only place that knows how an unknown one is written.

A class is unknown where it is -1; a value or a finding where it is NaN. Both functions take arrays and tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, SpecError


def known(label: Any) -> Any:
    """Whether each row's label is known: a class other than -1, a number other than NaN, or any finding known.

    Args:
        label: Int64[n] classes, -1 = unknown; Float32[n] values or Float32[n, f] findings, NaN = unknown.

    Returns:
        Bool[n], an array or a tensor as the labels are.

    Examples:
        >>> known(np.array([2, -1])).tolist()
        [True, False]
        >>> known(np.array([[0.0, np.nan], [np.nan, np.nan]])).tolist()
        [True, False]
    """
    each = known_cells(label)
    return each if each.ndim == 1 else each.any(1)


def known_cells(label: Any) -> Any:
    """Whether each single label is known, in the shape of the labels: of findings, one by one.

    Examples:
        >>> known_cells(np.array([[0.0, np.nan], [np.nan, np.nan]])).tolist()
        [[True, False], [False, False]]
    """
    # A number that is not equal to itself is none; -1 is a value like others where labels are numbers
    if _is_number(label):
        return label == label
    return label >= 0


def all_unknown(label: Any) -> Any:
    """Labels of the same form, all unknown.

    Examples:
        >>> all_unknown(np.array([2, 0])).tolist(), all_unknown(np.array([0.5])).tolist()
        ([-1, -1], [nan])
    """
    hidden = label + 0
    hidden[...] = float("nan") if _is_number(label) else -1
    return hidden


def strata(label: npt.NDArray[Any]) -> Ints:
    """Whole numbers by which sets of patients are drawn alike, Int64[n]; -1 = unknown.

    Classes are themselves. Values are divided into quarters of those that are known; of findings their number counts.

    Examples:
        >>> strata(np.array([2, -1, 0])).tolist()
        [2, -1, 0]
        >>> strata(np.array([[1.0, np.nan], [np.nan, np.nan], [1.0, 1.0]])).tolist()
        [1, -1, 2]
        >>> strata(np.array([0.5, np.nan, 9.0, 7.0, 8.0])).tolist()
        [0, -1, 3, 1, 2]
    """
    if not _is_number(label):
        return label
    there = known(label)
    if label.ndim == 2:
        return np.where(there, np.nansum(label, axis=1), -1).astype(np.int64)

    # As many values in each quarter
    stratum = np.full(len(label), -1, np.int64)
    if there.any():
        cuts = np.quantile(label[there], (0.25, 0.5, 0.75))
        stratum[there] = np.searchsorted(cuts, label[there], side="left")
    return stratum


def _is_number(label: Any) -> bool:
    """Whether labels are floating-point numbers; a tensor's type has another name for it than an array's."""
    return "float" in str(label.dtype)


@dataclass(frozen=True)
class Scale:
    """The unit and origin in which a model is trained on labels that are values; all others are left as they are.

    Fitted once, on the rows that the first model is trained on, and kept with every model of its family like its
    vocabulary: what is measured is in the cohort's own units.

    Args:
        mean: In the cohort's units.
        deviation: Standard deviation, > 0, likewise.

    Examples:
        >>> scale = Scale.fitted(np.array([1.0, 3.0, np.nan]))
        >>> scale.standard(np.array([3.0])).tolist(), scale.units(np.array([-1.0])).tolist()
        ([1.0], [1.0])
    """

    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.deviation) and self.deviation > 0):
            raise SpecError(
                Fault("the scale of the labels is no mean and positive standard deviation")
            )

    @classmethod
    def fitted(cls, label: Any) -> Scale:
        """Mean and standard deviation of the known values; 0 and 1 where they do not differ.

        Args:
            label: Float[n], NaN = unknown.
        """
        values = label[known(label)].astype(float)
        if not len(values) or values.min() == values.max():
            return cls()
        return cls(float(values.mean()), float(values.std()))

    def standard(self, values: Any) -> Any:
        """Values from the cohort's units into those of training."""
        return values if self == Scale() else (values - self.mean) / self.deviation

    def units(self, values: Any) -> Any:
        """Values from the units of training into the cohort's."""
        return values if self == Scale() else values * self.deviation + self.mean


# Of labels that are no values
AS_IT_IS = Scale()
