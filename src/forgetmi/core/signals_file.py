"""The file of a model's signals: which arrays it holds, and what it must be to be read."""

from __future__ import annotations

import math
import re
import struct
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import ZIP_STORED, BadZipFile, LargeZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import EMBEDDING, LOGITS, TODAYS_HEADS
from forgetmi.core.regular_file import open_regular

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

# Kinds of numpy's types, and dimensions, of what every file holds
FORMS: dict[str, tuple[str, int]] = {
    "model": ("U", 0),
    "cohort": ("U", 0),
    "row": ("iu", 1),
    "patient": ("U", 1),
    "study": ("U", 1),
    "label": ("iuf", 1),
}

# And of each head's logits and each embedding
_OUTPUT_FORM = ("f", 2)
_OUTPUT_NAME = re.compile(r"[a-z][a-z0-9_]*_(?:logits|embedding)")

# Whether each row has a modality, in files of cohorts in which some rows lack it
PRESENT = "_present"
_PRESENT_FORM = ("b", 1)
_PRESENT_NAME = re.compile(r"[a-z][a-z0-9_]*" + PRESENT)

# The names of the heads, in files of other heads than image and text
HEADS = "heads"


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file of signals by name, which fit together; the heads' names are checked and left out.

    Raises:
        EvaluationError: The file is missing, damaged, or no file of signals.
    """
    try:
        values = _arrays(path)
    except _DAMAGED as error:
        raise _unreadable(path, _reason(error)) from None

    # Arrays that fit together, of the types that `forgetmi.core.signals.Signals.save` writes
    why = _why_not(values)
    if why:
        raise _unreadable(path, why)
    values.pop(HEADS, None)
    return values


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
    heads, why = _heads(values)
    if why:
        return why

    # What every file holds, a head's logits each, and any embeddings
    needed = {*FORMS, *(head + LOGITS for head in heads)}
    optional = {
        name for name in values if name.endswith(EMBEDDING) and _OUTPUT_NAME.fullmatch(name)
    }
    missing = {name for name in values if _PRESENT_NAME.fullmatch(name)}
    if not needed <= set(values) <= needed | optional | missing | {HEADS}:
        return "an array is missing, or one is unknown"

    # Kinds: text, whole numbers, numbers
    count = len(values["row"]) if values["row"].ndim == 1 else -1
    for name, value in values.items():
        if name == HEADS:
            continue
        other = _PRESENT_FORM if name in missing else _OUTPUT_FORM
        kinds, dimensions = FORMS.get(name, other)
        if name == "label" and value.dtype.kind == "f":
            dimensions = value.ndim if value.ndim == 2 else 1
        if value.dtype.kind not in kinds or value.ndim != dimensions:
            return f"{name} is of another type or shape"
        if dimensions and len(value) != count:
            return f"{name} has another number of rows"
        if value.dtype.kind == "U" and not _is_text(value):
            return f"{name} is no text"
    if not count:
        return "it holds no rows"

    return _why_not_numbers(values, [values[head + LOGITS] for head in heads])


def _heads(values: dict[str, npt.NDArray[Any]]) -> tuple[tuple[str, ...], str]:
    """The heads that a file should hold, and why they cannot be known (empty = they can)."""
    stored = values.get(HEADS)
    if stored is None:
        return TODAYS_HEADS, ""
    if stored.dtype.kind != "U" or stored.ndim != 1 or not _is_text(stored):
        return (), "heads is of another type or shape"

    heads = tuple(stored.tolist())
    sound = all(_OUTPUT_NAME.fullmatch(head + LOGITS) for head in heads)
    if not sound or len(set(heads)) < len(heads):
        return (), "heads holds a name that is none, or one twice"
    return heads, ""


def _is_text(value: npt.NDArray[Any]) -> bool:
    """Whether an array of text holds characters alone: NumPy takes any number for one, and fails when it is read."""
    # NumPy keeps a character in four bytes.
    numbers = np.frombuffer(value.astype(value.dtype.newbyteorder("=")).tobytes(), np.uint32)
    surrogates = (numbers >= 0xD800) & (numbers <= 0xDFFF)
    return not np.any(surrogates | (numbers > 0x10FFFF))


def _why_not_numbers(values: dict[str, npt.NDArray[Any]], logits: list[npt.NDArray[Any]]) -> str:
    """Why rows, labels and classes do not fit together; empty = they do."""
    row, label = values["row"], values["label"]
    if row.min() < 0 or len(np.unique(row)) < len(row):
        return "row holds a negative number, or one twice"

    # Every head predicts the same; a model without heads has embeddings
    if not logits:
        embeddings = [name for name in values if name.endswith(EMBEDDING)]
        return "" if embeddings else "it holds neither logits nor embeddings"
    columns = logits[0].shape[1]
    if not columns or any(other.shape[1] != columns for other in logits):
        return "the logits are not of the same classes, or of none"
    return _why_not_labels(label, columns)


def _why_not_labels(label: npt.NDArray[Any], columns: int) -> str:
    """Why labels do not fit so many columns of logits; empty = they do."""
    # Findings, one column each: absent, there, or unknown
    if label.ndim == 2:
        known = label[~np.isnan(label)]
        fits = label.shape[1] == columns and bool(np.isin(known, (0, 1)).all())
        return "" if fits else "label holds something else than findings that are 0, 1 or unknown"

    # A value, which one column predicts
    if label.dtype.kind == "f":
        fits = columns == 1 and not np.isinf(label).any()
        return "" if fits else "label holds no values, or there are several predictions of each"

    # A class; of two, one column may hold the odds
    if label.min() < -1 or label.max() >= max(columns, 2):
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
