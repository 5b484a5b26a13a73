"""A model's outputs for every row of a cohort, as arrays on disk."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Floats, Ints, Strings, read_only
from forgetmi.core.errors import EvaluationError, Fault

_TEXT = ("model", "cohort", "patient", "study")

# What reading a damaged or foreign file may raise.
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False, repr=False)
class Signals:
    """One model's outputs for every row, as arrays: each metric and attack is a pure function of these.

    Args:
        model: Digest of the model's weights.
        cohort: Digest of the cohort.
        row: Rows of the cohort, n.
        patient, study: Keyed digests, n each.
        label: n, -1 = unknown.
        image_logits, text_logits: float64[n, k].
        image_embedding, text_embedding, joint_embedding: float32[n, d], or None.
    """

    model: str
    cohort: str
    row: Ints
    patient: Strings
    study: Strings
    label: Ints
    image_logits: Floats
    text_logits: Floats
    image_embedding: npt.NDArray[np.float32] | None = None
    text_embedding: npt.NDArray[np.float32] | None = None
    joint_embedding: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, read_only(value))

    def __len__(self) -> int:
        return len(self.row)

    def __repr__(self) -> str:
        return f"Signals({len(self)} rows, model {self.model[:12]})"

    def select(self, rows: Ints) -> Signals:
        """The signals of the given cohort rows, in that order.

        Raises:
            KeyError: A row is not in these signals.
        """
        # Where each row stands in these signals.
        order = np.argsort(self.row, kind="stable")
        place = np.searchsorted(self.row[order], rows)
        if np.any(place >= len(order)) or np.any(self.row[order][place] != rows):
            raise KeyError("these signals do not hold every row that is selected")
        positions = order[place]

        # Every array, in that order.
        selected = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                selected[field.name] = value[positions]
        return replace(self, **selected)

    def save(self, path: Path) -> None:
        """Write an .npz, atomically; holds keyed digests, no identifier and no text."""
        arrays: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue

            # Text as fixed-width strings, so that reading never unpickles.
            if field.name in _TEXT:
                value = np.asarray(value, dtype=str)
            arrays[field.name] = value

        partial = path.with_name(f".{path.name}.partial.npz")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Signals:
        """Read what `save` wrote.

        Raises:
            EvaluationError: The file is missing, damaged, or no file of signals.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                values: dict[str, Any] = {name: stored[name] for name in stored.files}

            # Two values are single words, stored as arrays without dimension.
            values["model"] = str(values["model"])
            values["cohort"] = str(values["cohort"])
            return cls(**values)
        except _DAMAGED as error:
            raise EvaluationError(
                Fault(
                    "the signals cannot be read",
                    where=path.name,
                    why=type(error).__name__,
                    do="Give a file that forgetmi wrote; remove a damaged one from a run, and the run makes it again.",
                )
            ) from error
