"""A model's outputs for every row of a cohort, as arrays on disk."""

from __future__ import annotations

import math
import os
import struct
import zlib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import ZIP_STORED, BadZipFile, LargeZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from forgetmi.core.arrays import Floats, Ints, Strings, read_only
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.regular_file import open_regular

_TEXT = ("model", "cohort", "patient", "study")

# What reading a damaged or foreign file may raise.
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    IndexError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    BadZipFile,
    LargeZipFile,
    TokenError,
    struct.error,
    zlib.error,
)

# Readers of an array's header, by version of the format
_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

# Kinds of numpy's types, and dimensions, of each array
_FORMS: dict[str, tuple[str, int]] = {
    "model": ("U", 0),
    "cohort": ("U", 0),
    "row": ("iu", 1),
    "patient": ("U", 1),
    "study": ("U", 1),
    "label": ("iu", 1),
    "image_logits": ("f", 2),
    "text_logits": ("f", 2),
    "image_embedding": ("f", 2),
    "text_embedding": ("f", 2),
    "joint_embedding": ("f", 2),
}


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
            values = _arrays(path)
        except _DAMAGED as error:
            raise _unreadable(path, _reason(error)) from None

        # Arrays that fit together, of the types that `save` writes
        why = _why_not(values)
        if why:
            raise _unreadable(path, why)

        # Two values are single words, stored as arrays without dimension.
        values["model"] = str(values["model"])
        values["cohort"] = str(values["cohort"])
        return cls(**values)


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays in an .npz by name; none that takes more memory than the file."""
    with open_regular(path) as file, ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.compress_type != ZIP_STORED:
                raise ValueError("it is compressed, which forgetmi never does")

        # numpy reads from the archive's own stream: a path could be exchanged meanwhile
        values = {}
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name in values:
                raise ValueError("an array is given twice")
            with archive.open(entry) as stream:
                values[name] = _array(stream, entry.file_size)
        return values


def _array(stream: IO[bytes], size: int) -> npt.NDArray[Any]:
    """One array, whose header claims no more than is there."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError("an array is of another format")
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("an array holds objects")

    count = math.prod(shape)
    if dtype.itemsize * count > size:
        raise ValueError("an array is cut short")
    flat = np.frombuffer(stream.read(dtype.itemsize * count), dtype, count=count)
    return flat.reshape(shape, order="F" if fortran else "C")


def _reason(error: BaseException) -> str:
    """Why a file is unreadable: the system's reason or our own, else the kind of error; never the content."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if type(error) is ValueError and str(error).startswith(("it is ", "an array ")):
        return str(error)
    return f"{type(error).__name__} while reading it"


def _why_not(values: dict[str, npt.NDArray[Any]]) -> str:
    """Why some arrays are no signals; empty = they are."""
    known = {field.name: field for field in fields(Signals)}
    needed = {name for name, field in known.items() if field.default is MISSING}
    if not needed <= set(values) <= set(known):
        return "an array is missing, or one is unknown"

    # Kinds: text, whole numbers, numbers
    count = len(values["row"]) if values["row"].ndim == 1 else -1
    for name, value in values.items():
        kinds, dimensions = _FORMS[name]
        if value.dtype.kind not in kinds or value.ndim != dimensions:
            return f"{name} is of another type or shape"
        if dimensions and len(value) != count:
            return f"{name} has another number of rows"
        if value.dtype.kind == "U" and not _is_text(value):
            return f"{name} is no text"
    if not count:
        return "it holds no rows"

    return _why_not_numbers(values)


def _is_text(value: npt.NDArray[Any]) -> bool:
    """Whether an array of text holds characters alone: NumPy takes any number for one, and fails when it is read."""
    # NumPy keeps a character in four bytes.
    numbers = np.frombuffer(value.astype(value.dtype.newbyteorder("=")).tobytes(), np.uint32)
    surrogates = (numbers >= 0xD800) & (numbers <= 0xDFFF)
    return not np.any(surrogates | (numbers > 0x10FFFF))


def _why_not_numbers(values: dict[str, npt.NDArray[Any]]) -> str:
    """Why rows, labels and classes do not fit together; empty = they do."""
    row, label = values["row"], values["label"]
    classes = values["image_logits"].shape[1]
    if row.min() < 0 or len(np.unique(row)) < len(row):
        return "row holds a negative number, or one twice"
    if classes < 2 or values["text_logits"].shape[1] != classes:
        return "the logits are not of the same classes, or of fewer than 2"
    if label.min() < -1 or label.max() >= classes:
        return "label holds a number that is no class"
    return ""


def _unreadable(path: Path, why: str) -> EvaluationError:
    return EvaluationError(
        Fault(
            "the signals cannot be read",
            where=path.name,
            why=why,
            do="Give a file that forgetmi wrote; remove a damaged one from a run, and the run makes it again.",
        )
    )
