"""Arrays of one value per row: their types, numbering of values, and protection against writing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Strings = npt.NDArray[np.str_] | npt.NDArray[np.object_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Classes, values or findings; `forgetmi.core.labels` says which are known
Labels = npt.NDArray[Any]


def codes(values: Strings) -> tuple[Ints, Strings]:
    """Number values in the order of their first appearance (never sorted: digests sort differently under another key).

    Args:
        values: n strings.

    Returns:
        The n codes 0..k-1 and the k distinct values.
    """
    # Imported here: pandas takes long to load, and a run specification needs no codes.
    import pandas as pd

    code, unique = pd.factorize(np.asarray(values, dtype=object))
    return code.astype(np.int64), np.asarray(unique, dtype=object)


def taken(values: npt.NDArray[Any], positions: Ints) -> npt.NDArray[Any]:
    """The values at some positions, as a new array that cannot be written to."""
    part = np.take(values, positions, axis=0)
    part.flags.writeable = False
    return part


def read_only(values: Any) -> Any:
    """The values as an array that cannot be written to; copied if they could."""
    array = np.asarray(values)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array
