"""Which labels are known: the only place that knows how an unknown one is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


def known(label: npt.NDArray[Any]) -> Bools:
    """Whether each row's label is known: a class other than -1, a number other than NaN, or any finding known.

    Args:
        label: Int64[n] classes, -1 = unknown; Float32[n] values or Float32[n, f] findings, NaN = unknown.

    Returns:
        Bool[n].

    Examples:
        >>> known(np.array([2, -1])).tolist()
        [True, False]
        >>> known(np.array([[0.0, np.nan], [np.nan, np.nan]])).tolist()
        [True, False]
    """
    each = known_cells(label)
    return each if each.ndim == 1 else each.any(axis=1)


def known_cells(label: npt.NDArray[Any]) -> Bools:
    """Whether each single label is known, in the shape of the labels: of findings, one by one.

    Examples:
        >>> known_cells(np.array([[0.0, np.nan], [np.nan, np.nan]])).tolist()
        [[True, False], [False, False]]
    """
    label = np.asarray(label)
    return np.isfinite(label) if label.dtype.kind == "f" else label >= 0
