"""Signals of several models as if they were one: each row says what one of the models says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.signals import Signals


@dataclass(frozen=True, eq=False, repr=False)
class PooledSignals(Signals):
    """A reference that never saw anybody who could be forgotten: every row comes from a model that fits its patient.

    Logits can be read as those of one model. Embeddings of rows from different models lie in different spaces: what
    compares rows with each other does so model by model, see `by_member`.

    Args:
        members: The models' signals, each for every row.
        member: Int[n], which of them speaks for each row.
    """

    members: tuple[Signals, ...] = ()
    member: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, members: Sequence[Signals], member: Ints) -> PooledSignals:
        """Put rows of several models together.

        Args:
            members: Signals of the same rows in the same order, with the same heads and embeddings.
            member: See the class.
        """
        first = members[0]
        arrays: dict[str, Any] = {}
        for name in first.named():
            stacked = np.stack([one.named()[name] for one in members])
            arrays[name] = stacked[member, np.arange(len(member))]

        # Whose models they are, in which arrangement
        digest = hashlib.sha256("\n".join(one.model for one in members).encode())
        digest.update(np.asarray(member, np.int64).tobytes())
        model = digest.hexdigest()

        one = replace(first, model=model).replaced(**arrays)
        values = {of_field.name: getattr(one, of_field.name) for of_field in fields(Signals)}
        return cls(**values, members=tuple(members), member=np.asarray(member, np.int64))

    def select(self, rows: Ints) -> PooledSignals:
        """The signals of the given cohort rows, in that order.

        Raises:
            KeyError: A row is not in these signals.
        """
        places = np.argsort(self.row, kind="stable")
        chosen = super().select(rows)
        assert isinstance(chosen, PooledSignals)
        at = places[np.searchsorted(self.row[places], rows)]
        return replace(chosen, member=self.member[at])

    def save(self, path: Path) -> None:
        """Not possible: the members are stored, and put together again."""
        raise TypeError("signals of several models are stored one by one")


def by_member(
    function: Callable[[Signals, Signals], Floats], queries: PooledSignals, gallery: Signals
) -> Floats:
    """A function of rows and what they are compared with, computed within each row's own model.

    Args:
        function: Of n rows and the rows they are compared with, both of one model.
        queries: The rows.
        gallery: What they are compared with; of each model the same rows are taken.

    Returns:
        Float[n].
    """
    values = np.empty(len(queries))
    for number in np.unique(queries.member):
        places = np.flatnonzero(queries.member == number)
        model = queries.members[number]
        values[places] = function(model.select(queries.row[places]), model.select(gallery.row))
    return values
