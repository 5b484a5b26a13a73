"""A loop over epochs that can be interrupted at any moment and resumed bit for bit."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch

from forgetmi.core.cost import Cost, cost_so_far, go_on_from
from forgetmi.core.errors import CheckpointError, Fault
from forgetmi.core.file_checksum import add_checksum, is_altered
from forgetmi.core.partial_files import whole_file
from forgetmi.core.seeding import scope
from forgetmi.core.serialization import from_plain

_START_AFRESH = "Delete the file to start afresh."


class Stateful(Protocol):
    """What can be saved and taken back: models, optimisers, counters; tensors and plain values only."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


class EpochLoop:
    """Iterate over epoch numbers; save after each, and go on where an interrupted run stopped.

    The global generators (dropout) are set for each epoch as a pure function of (seed, stage, epoch). Nothing is left
    out of ``state`` that changes from epoch to epoch, or a resumed run will differ. Leaving the loop early: close the
    iterator (``contextlib.closing``) to give the global generators back at once. A running `Meter` counts what the work
    cost before it was interrupted.

    Args:
        total: Number of epochs, >= 0.
        state: Everything that changes, by name.
        file: Where to save; None = not resumable. The caller removes it.
        key: What the run is (options, seed, initial weights, rows); a file of another key is refused.
        seed: Root seed.
        stage: Name of the random stream, e.g. "train".
    """

    def __init__(
        self,
        total: int,
        *,
        state: Mapping[str, Stateful],
        file: Path | None,
        key: str,
        seed: int,
        stage: str,
    ) -> None:
        self._total = total
        self._state = state
        self._file = file
        self._key = key
        self._seed = seed
        self._stage = stage

    def __iter__(self) -> Generator[int]:
        # The generators of an epoch do not depend on the epochs before it.
        for epoch in range(self._load(), self._total):
            with scope(self._seed, self._stage, epoch):
                yield epoch
            self._save(epoch + 1)

    def _save(self, done: int) -> None:
        """Write everything after an epoch; a reader sees the whole file or the one before."""
        if self._file is None:
            return

        # The cost so far goes with the state, so that work counts once.
        state = {name: part.state_dict() for name, part in self._state.items()}
        cost = cost_so_far()
        saved = {
            "key": self._key,
            "done": done,
            "state": state,
            "cost": None if cost is None else asdict(cost),
        }

        try:
            with whole_file(self._file) as file:
                torch.save(saved, file)
                file.flush()
                add_checksum(Path(file.name))
        except RuntimeError as error:
            # torch covers the system's error (a full disk) with its own.
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    def _load(self) -> int:
        """Take the saved state back, if there is one; the number of epochs done."""
        if self._file is None or not self._file.exists():
            return 0

        # Tensors and plain values alone are read: a file cannot run code.
        try:
            altered = is_altered(self._file)
            saved = torch.load(self._file, map_location="cpu", weights_only=True)
            key, done, state = saved["key"], saved["done"], saved["state"]
            cost = saved["cost"]
            if cost is not None:
                cost = from_plain(Cost, cost, where=self._file.name, complete=True)
            fits = key == self._key and set(state) == set(self._state)
            fits = fits and type(done) is int and 0 <= done <= self._total
        except Exception as error:
            raise self._unreadable(type(error).__name__) from error

        if altered:
            raise self._unreadable("it was changed after it was written")
        if not fits:
            raise CheckpointError(
                Fault(
                    "the saved progress is of another run",
                    where=self._file.name,
                    why="options, seed, initial weights or data differ",
                    do=_START_AFRESH,
                )
            )

        # Everything goes on from where it was, the cost included.
        try:
            for name, part in self._state.items():
                part.load_state_dict(state[name])
        except Exception as error:
            raise self._unreadable(type(error).__name__) from error
        if cost is not None:
            go_on_from(cost)
        return done

    def _unreadable(self, why: str) -> CheckpointError:
        """The fault of a damaged or foreign file, which can make its reader raise anything."""
        return CheckpointError(
            Fault(
                "the saved progress cannot be read",
                where=self._file.name if self._file is not None else "",
                why=why,
                do=_START_AFRESH,
            )
        )
