"""Towers of what was measured: a table's columns, and measurements over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.modalities import TABLE
from forgetmi.core.suggest import did_you_mean
from forgetmi.model.tower_specs.protocol import (
    SERIES,
    TrainingData,
    number_faults,
    scale_faults,
    tower_class,
)

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor

    from forgetmi.model.towers.protocol import Tower

_TABLE = "table tower"
_SERIES = "series tower"

# Most categories of a column
_CATEGORIES = 1000


@dataclass(frozen=True)
class TableSpec:
    """A multi-layer perceptron over the columns of a table; a missing value is 0 and has an indicator.

    Args:
        categorical: Names of the columns whose values are codes of categories, 0, 1, 2, ...; those that the cohort
            reads as categories need not be named.
        hidden: Widths of the hidden layers.
        width: Width of the embedding.
        dropout: After each hidden layer, 0 to below 1.
        frozen: How many of the first layers do not move.
        saw_patients: Whether the weights have seen patients of this cohort before.
        columns: Filled in: names of all columns, in order.
        categories: Filled in: number of categories of each column, 0 = a number.
        mean, std: Filled in from the training rows alone: of each column, 0 and 1 for categories.
    """

    modality: ClassVar[str] = TABLE

    categorical: tuple[str, ...] = ()
    hidden: tuple[int, ...] = (64,)
    width: int = 64
    dropout: float = 0.0
    frozen: int = 0
    saw_patients: bool = False
    columns: tuple[str, ...] = ()
    categories: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        widths = {f"hidden[{place}]": value for place, value in enumerate(self.hidden)}
        faults = number_faults(_TABLE, {**widths, "width": self.width})
        if not 0 <= self.dropout < 1:
            faults.append(Fault("dropout must be in [0, 1)", where=_TABLE))

        lengths = {len(self.columns), len(self.categories), len(self.mean), len(self.std)}
        if len(lengths) > 1:
            faults.append(Fault("columns, categories, mean and std differ in number", where=_TABLE))
        faults += scale_faults(_TABLE, self.mean, self.std)
        if any(not 0 <= count <= _CATEGORIES for count in self.categories):
            faults.append(Fault(f"a column has more than {_CATEGORIES} categories", where=_TABLE))
        if faults:
            raise SpecError(faults)

    @property
    def size(self) -> int:
        """It reads no images."""
        return 0

    def resolve(self, training: TrainingData) -> Self:
        """With the columns of the cohort, and their mean and standard deviation over the training rows.

        Raises:
            SpecError: The cohort has no table, a categorical column is none of its columns or holds no codes, or no
                training row has a value in a column.
        """
        table = training.table
        if table is None or not training.columns:
            raise SpecError(
                Fault(
                    "the cohort has no table", where=_TABLE, do="Name its columns, or leave it out."
                )
            )

        faults = []
        categorical = tuple(dict.fromkeys((*training.categorical, *self.categorical)))
        for name in categorical:
            if name not in training.columns:
                advice = did_you_mean(name, training.columns)
                faults.append(Fault(f"the table has no column {name!r}", where=_TABLE, do=advice))

        categories, mean, std = [], [], []
        for place, name in enumerate(training.columns):
            values = table[:, place]
            values = values[np.isfinite(values)].astype(np.float64)
            if not len(values):
                why = "no training row has a value"
                faults.append(Fault(f"column {name!r} is empty", where=_TABLE, why=why))
                continue

            if name in categorical:
                count, fault = _codes(name, values)
                faults += fault
                categories.append(count)
                mean.append(0.0)
                std.append(1.0)
            else:
                # A column with one value alone says nothing, and is divided by 1
                categories.append(0)
                mean.append(float(values.mean()))
                std.append(float(values.std()) or 1.0)

        if faults:
            raise SpecError(faults)
        return replace(
            self,
            categorical=categorical,
            columns=training.columns,
            categories=tuple(categories),
            mean=tuple(mean),
            std=tuple(std),
        )

    def build(self) -> Tower:
        """The tower, with random weights."""
        return tower_class("forgetmi.model.towers.table:TableTower")(self)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """There are none."""
        return None


def _codes(name: str, values: Floats) -> tuple[int, list[Fault]]:
    """How many categories a column has; a fault where its values are no codes."""
    whole = bool((values == np.round(values)).all())
    if whole and values.min() >= 0 and values.max() < _CATEGORIES:
        return int(values.max()) + 1, []

    why = f"codes are whole numbers from 0 to {_CATEGORIES - 1}"
    return 0, [Fault(f"column {name!r} is categorical, but holds no codes", where=_TABLE, why=why)]


@dataclass(frozen=True)
class SeriesSpec:
    """Convolutions over time: an ECG's leads, vital signs.

    Args:
        channels: Channels of the series, e.g. 12 leads.
        widths: Channels of each block; every block halves the number of time steps.
        kernel: Time steps that a convolution sees, odd.
        mean, std: Of each channel; empty = 0 and 1.
        frozen: How many of the first blocks do not move.
        saw_patients: Whether the weights have seen patients of this cohort before.
    """

    modality: ClassVar[str] = SERIES

    channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    kernel: int = 7
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    frozen: int = 0
    saw_patients: bool = False

    def __post_init__(self) -> None:
        widths = {f"widths[{place}]": value for place, value in enumerate(self.widths)}
        counts = {"channels": self.channels, "kernel": self.kernel, "blocks": len(self.widths)}
        faults = number_faults(_SERIES, {**counts, **widths})
        if self.kernel % 2 == 0:
            faults.append(Fault("kernel must be odd", where=_SERIES, why=f"got {self.kernel}"))
        faults += scale_faults(_SERIES, self.mean, self.std)
        if len(self.mean) not in (0, self.channels):
            faults.append(Fault("mean and std need one number a channel", where=_SERIES))
        if faults:
            raise SpecError(faults)

    @property
    def size(self) -> int:
        """It reads no images."""
        return 0

    def resolve(self, training: TrainingData) -> Self:
        """As it is."""
        return self

    def build(self) -> Tower:
        """The tower, with random weights."""
        return tower_class("forgetmi.model.towers.series:SeriesTower")(self)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """There are none."""
        return None
