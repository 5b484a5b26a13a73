"""A column of numbers to be predicted: age, ejection fraction, a score."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.raw_rows import RawRows
from forgetmi.cohort.row_checks import Findings, stripped
from forgetmi.core.arrays import codes
from forgetmi.core.errors import Fault

UNKNOWN_VALUE = frozenset({"", "nan", "none", "na", "n/a", "<na>", "null", "-"})
_MOST = 1e30  # beyond it no measurement is meant


def read_values(rows: RawRows, findings: Findings) -> npt.NDArray[np.float32]:
    """Numbers of a label column.

    Args:
        rows: The raw rows, n.
        findings: Takes the faults: a cell that is no number, or infinite; a column that is the same for everybody.

    Returns:
        Float32[n], NaN = unknown. Here -1 is a number.
    """
    code, distinct = codes(stripped(rows.label))
    values, wrong = [], []
    for text in distinct:
        number = finite_number(text)
        values.append(np.nan if number is None else number)
        wrong.append(number is None and text.lower() not in UNKNOWN_VALUE)
    value, is_wrong = np.array(values)[code], np.array(wrong, dtype=bool)[code]

    findings.add(
        np.flatnonzero(is_wrong),
        "label",
        "the label is not a number",
        why="digits with a decimal point; blank or nan = unknown",
    )
    known = value[~np.isnan(value)]
    if not is_wrong.any() and (not len(known) or known.min() == known.max()):
        column = rows.columns.get("label", "label")
        why = "no value is known" if not len(known) else "all known values are equal"
        findings.faults.append(Fault("there is nothing to predict", f"column {column!r}", why))
    return value.astype(np.float32)


def finite_number(text: str) -> float | None:
    """A finite number as digits; None = it is none, or a word for a missing one."""
    if "_" in text or text.lower() in UNKNOWN_VALUE:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < _MOST else None
