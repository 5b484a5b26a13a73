"""What an audit computes once, though every attack asks for it, aimed at every model, through every channel."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from forgetmi.core.arrays import read_only
from forgetmi.core.signals import Signals

T = TypeVar("T")


class Remembered:
    """Values by what they follow from, shared by all views of the same evidence.

    Which rows of a set count, and how they group into patients, follows from the rows, studies, labels and missing
    modalities of the attacked model's signals. Those are the same of all models as a rule, which is checked: models
    that agree on them have the same number here.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}
        self._samples: list[Signals] = []

        # By identity, with the signals themselves, so that no identity is used twice
        self._models: dict[int, Signals] = {}
        self._number: dict[int, int] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made when it is first asked for; what raises is made anew each time."""
        if key not in self._values:
            self._values[key] = make()
        return self._values[key]

    def of_model(self, signals: Signals, key: Hashable, make: Callable[[], T]) -> T:
        """A value of one model's signals, made once; nobody may write to an array."""

        def made() -> Any:
            value: Any = make()
            return read_only(value) if isinstance(value, np.ndarray) else value

        return self.once((self._identity(signals), key), made)

    def samples(self, signals: Signals) -> int:
        """The number of everything that the signals say of their samples, which other models' signals may share."""
        identity = self._identity(signals)
        if identity not in self._number:
            self._number[identity] = self._number_of(signals)
        return self._number[identity]

    def _number_of(self, signals: Signals) -> int:
        for number, known in enumerate(self._samples):
            if _same_samples(known, signals):
                return number
        self._samples.append(signals)
        return len(self._samples) - 1

    def _identity(self, signals: Signals) -> int:
        self._models[id(signals)] = signals
        return id(signals)


def _same_samples(one: Signals, other: Signals) -> bool:
    """Whether two models' signals are of the same samples, with the same labels and missing modalities."""
    if one.present.keys() != other.present.keys():
        return False
    if one.label.dtype != other.label.dtype:
        return False

    unknown = one.label.dtype.kind == "f"
    return (
        np.array_equal(one.row, other.row)
        and np.array_equal(one.study, other.study)
        and np.array_equal(one.label, other.label, equal_nan=unknown)
        and all(np.array_equal(there, other.present[name]) for name, there in one.present.items())
    )
