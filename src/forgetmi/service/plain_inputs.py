"""Films and reports as a person has them, made into the batch that a model reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from forgetmi.core.arrays import Flags
from forgetmi.core.batch import Batch
from forgetmi.core.errors import CohortError, Fault, SpecError
from forgetmi.core.inputs import Inputs, Tokens
from forgetmi.core.modalities import IMAGE, TEXT
from forgetmi.data.decode import ImageFault
from forgetmi.data.film import model_input
from forgetmi.data.library_tokenizer import LibraryTokenizer
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer

# A path, or an array of grey values (h, w); None = there is no film
Film: TypeAlias = "str | Path | npt.NDArray[Any] | None"

# Of a report: word pieces, or as a published encoder's library makes them
AnyTokenizer: TypeAlias = "Tokenizer | LibraryTokenizer"

# What each modality is called where a person gives it
TABLE = "table"
ARGUMENTS = {IMAGE: "images", TEXT: "reports", TABLE: "table"}


@dataclass(frozen=True)
class PlainInputs:
    """Films, reports and tables of n samples; a model reads those of its modalities.

    Args:
        images: Paths or arrays, None for a sample without a film; None = the model reads none.
        reports: Texts, None or blank for a sample without one; None = the model reads none.
        table: Values by column, None or NaN = missing; None = the model reads none. A sample without any has no table.
    """

    images: Sequence[Film] | None = None
    reports: Sequence[str | None] | None = None
    table: Mapping[str, Sequence[float | None]] | None = None

    def __len__(self) -> int:
        return self._lengths()[0]

    def _lengths(self) -> list[int]:
        """Samples of each list that is given."""
        lists = [values for values in (self.images, self.reports) if values is not None]
        return [len(values) for values in (*lists, *(self.table or {}).values())]

    def check(self, modalities: Sequence[str], columns: Sequence[str]) -> None:
        """Refuse what does not go together, or is not what a model reads; all faults at once.

        Args:
            modalities: What the model reads.
            columns: Names of the columns of its table.

        Raises:
            SpecError: Something is missing, not read, of another length, or no text.
        """
        faults = []
        given = {IMAGE: self.images, TEXT: self.reports, TABLE: self.table}

        # What it reads must be there, and nothing else
        for modality in modalities:
            if modality not in ARGUMENTS:
                do = "Predict a cohort with it instead: forgetmi predict."
                faults.append(Fault(f"the model reads {modality}, which is not taken here", do=do))
            elif given[modality] is None:
                faults.append(Fault("it is missing", where=ARGUMENTS[modality]))
        for modality, values in given.items():
            if values is not None and modality not in modalities:
                faults.append(Fault("the model does not read it", where=ARGUMENTS[modality]))
        if self.table is not None and TABLE in modalities and {*self.table} != {*columns}:
            do = f"Give the model's columns: {', '.join(columns)}."
            faults.append(Fault("it has other columns", where=ARGUMENTS[TABLE], do=do))

        # A single text has a length, too, and is no list of reports
        for modality, values in given.items():
            if isinstance(values, str | Path):
                do = "Put it into a list."
                faults.append(Fault("this is a single one", where=ARGUMENTS[modality], do=do))

        lengths = set() if faults else {*self._lengths()}
        if len(lengths) > 1:
            counts = " and ".join(map(str, sorted(lengths)))
            faults.append(Fault("there are not as many of each", why=counts))
        if not faults and lengths == {0}:
            faults.append(Fault("there is nothing to predict"))
        for number, report in enumerate(self.reports or ()):
            if report is not None and not isinstance(report, str):
                faults.append(Fault("it is no text", where=f"report {number}"))
        if faults:
            raise SpecError(faults)

        # A sample that has nothing cannot be predicted
        there = self.present(modalities, range(len(self)))
        for row in np.flatnonzero(~np.any(list(there.values()), axis=0)):
            why = f"the model reads {', '.join(modalities)}"
            faults.append(Fault("there is nothing of it", where=f"sample {row}", why=why))
        if faults:
            raise SpecError(faults)

    def present(self, modalities: Sequence[str], rows: Sequence[int]) -> dict[str, Flags]:
        """Which of some samples have each modality, Bool[n]."""
        found: dict[str, Flags] = {}
        for modality in modalities:
            found[modality] = np.array([self._has(modality, row) for row in rows], dtype=bool)
        return found

    def _has(self, modality: str, row: int) -> bool:
        """Whether a sample has a film, words, or a value in some column."""
        if modality == IMAGE:
            return self.images is not None and self.images[row] is not None
        if modality == TEXT:
            return self.reports is not None and bool((self.reports[row] or "").strip())
        values = [column[row] for column in (self.table or {}).values()]
        return any(value is not None and value == value for value in values)


def batches(
    inputs: PlainInputs,
    *,
    modalities: Sequence[str],
    images: ImagePreprocessing,
    tokenizer: AnyTokenizer,
    columns: Sequence[str],
    batch_size: int,
) -> Iterator[Batch]:
    """Batches of all samples, in their order, prepared as training prepared its own.

    Args:
        inputs: The samples, which were checked.
        modalities: What the model reads.
        images, tokenizer, columns: Its preprocessing.
        batch_size: Samples of a batch, >= 1.

    Raises:
        CohortError: Films of a batch cannot be used; each is named by its place from 0.
    """
    for start in range(0, len(inputs), batch_size):
        rows = range(start, min(start + batch_size, len(inputs)))
        found: dict[str, Inputs] = {}
        if IMAGE in modalities:
            found[IMAGE] = _films(inputs, rows, images)
        if TEXT in modalities:
            found[TEXT] = _texts(inputs, rows, tokenizer)
        if TABLE in modalities:
            found[TABLE] = _table(inputs, rows, columns)

        # As in training, only modalities that some sample lacks are named
        there = inputs.present(modalities, rows)
        lacking = {
            name: torch.from_numpy(who) for name, who in there.items() if not bool(who.all())
        }
        yield replace(unlabelled(found, len(rows)), present=lacking)


def unlabelled(inputs: dict[str, Inputs], samples: Any) -> Batch:
    """A batch of inputs alone: labels are unknown, and no two samples share a study."""
    numbers = torch.arange(samples)
    return Batch(inputs, torch.full_like(numbers, -1), numbers, numbers)


def _films(inputs: PlainInputs, rows: range, preprocessing: ImagePreprocessing) -> Tensor:
    """Float[b, 1, size, size]."""
    assert inputs.images is not None
    films, faults = [], []
    black = np.zeros((1, preprocessing.size, preprocessing.size), np.float32)
    for row in rows:
        film = inputs.images[row]
        try:
            films.append(black if film is None else model_input(film, preprocessing))
        except ImageFault as error:
            fault = error.fault
            faults.append(Fault(fault.what, where=f"image {row}", why=fault.why, do=fault.do))
        except OSError as error:
            why = error.strerror or type(error).__name__
            faults.append(Fault("the image cannot be read", where=f"image {row}", why=why))
    if faults:
        raise CohortError(faults)
    return torch.from_numpy(np.stack(films))


def _table(inputs: PlainInputs, rows: range, columns: Sequence[str]) -> Tensor:
    """Float[b, c] in the order of the model's columns, NaN = missing.

    Raises:
        SpecError: A value is no number, or infinite; values are not quoted.
    """
    assert inputs.table is not None
    values = np.full((len(rows), len(columns)), np.nan, np.float32)
    faults = []
    for place, name in enumerate(columns):
        for row in rows:
            value = inputs.table[name][row]
            try:
                values[row - rows.start, place] = np.nan if value is None else float(value)
            except (TypeError, ValueError):
                faults.append(Fault("it is no number", where=f"table: {name}, row {row}"))
    if np.isinf(values).any():
        faults.append(Fault("it holds an infinite number", where="table"))
    if faults:
        raise SpecError(faults)
    return torch.from_numpy(values)


def _texts(inputs: PlainInputs, rows: range, tokenizer: AnyTokenizer) -> Tokens:
    """Tokens padded to the longest text."""
    assert inputs.reports is not None
    encoded = tokenizer.encode([inputs.reports[row] or "" for row in rows])
    longest = max(map(len, encoded))
    ids = np.full((len(encoded), longest), tokenizer.pad, np.int64)
    mask = np.zeros((len(encoded), longest), np.int64)
    for place, text in enumerate(encoded):
        ids[place, : len(text)] = text
        mask[place, : len(text)] = 1
    return Tokens(torch.from_numpy(ids), torch.from_numpy(mask))
