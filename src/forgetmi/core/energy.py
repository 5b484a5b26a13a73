"""The energy that a GPU has used, where its driver tells (package nvidia-ml-py or pynvml, which need not be there)."""

from __future__ import annotations

import importlib
import os
import warnings
from functools import cache
from typing import Any


def joules_so_far() -> float | None:
    """Joules that the first visible GPU has used since its driver was loaded, by whatever ran on it; None = unknown.

    The difference of two readings is what was used between them: by other processes on that GPU, too.
    """
    library = _library()
    if library is None:
        return None

    # A driver may be there, and not tell the energy of this GPU.
    try:
        return library.nvmlDeviceGetTotalEnergyConsumption(_handle(library)) / 1000
    except library.NVMLError:
        return None


@cache
def _library() -> Any:
    """The driver's library, started; None where it is not there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library = importlib.import_module("pynvml")
    except ImportError:
        return None

    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return library


def _handle(library: Any) -> Any:
    """The GPU that CUDA calls its first: it may be named by its number or by a name of its own."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() or "0"
    if first.isdigit():
        return library.nvmlDeviceGetHandleByIndex(int(first))
    return library.nvmlDeviceGetHandleByUUID(first.encode())
