"""A model's outputs for many rows, put into their places batch by batch: never twice in memory, large ones on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Ints

# Arrays of more bytes are kept in a file without a name, which the system removes with the array.
_MOST_IN_MEMORY = 2**26


@final
class OutputArrays:
    """Arrays of one row a sample, filled in whatever order batches come.

    Args:
        order: Int[n], the place of each sample in the arrays, in the order in which the samples come.
    """

    def __init__(self, order: Ints) -> None:
        self._order = order
        self._done = 0
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def add(self, outputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put the next samples into their places.

        Args:
            outputs: Name to b rows, of the same samples and of the same names each time.
        """
        count = len(next(iter(outputs.values())))
        places = self._order[self._done : self._done + count]
        for name, values in outputs.items():
            if name not in self._arrays:
                shape = (len(self._order), *values.shape[1:])
                self._arrays[name] = _empty(shape, values.dtype)
            self._arrays[name][places] = values
        self._done += count

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays, which cannot be written to any more."""
        assert self._done == len(self._order)
        for values in self._arrays.values():
            values.flags.writeable = False
        return self._arrays


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array to be filled.

    Raises:
        OSError: The disk of temporary files has not the room.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    if size <= _MOST_IN_MEMORY:
        return np.empty(shape, dtype)

    # Its blocks are taken now: a disk that fills up later would end the process at a write, without an error
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, mode="w+", shape=shape)
