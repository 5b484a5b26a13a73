"""A log of every training step's weight update, summed by buckets of patients; it is stored on the disk."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.partial_files import unfinished_folder
from forgetmi.unlearning.training_log import load_log, save_log

Buckets = tuple[int, ...]
UPDATES, INDEX = "updates.f32", "index.pt"


@final
class UpdateLog:
    """Recorder of the weight updates of a training, summed over the batches that hold the same buckets of patients.

    Storage is 4 bytes x parameters x distinct sets of buckets, on the disk; in memory there is one copy of the weights.
    With one bucket a patient nearly every batch is a set of its own: at 1.1 M parameters and 720 steps 3.2 GB, at
    113 M parameters 0.45 GB a step. With two buckets (those who will ask to be forgotten, and the rest) there are three
    sets at most, each stored twice while training goes on: a sum that an interrupted training would resume from is
    never overwritten. The log reveals as much about the patients as their data do: store it as safely, and replace it
    by the one that unlearning returns.

    Args:
        bucket: Int[n], bucket of every row of the cohort; a patient's rows share one.
        folder: Where the sums are written; None = a temporary folder that is deleted with this object.
        limit: Largest size in bytes; a training that needs more stops.
    """

    def __init__(self, bucket: Ints, *, folder: Path | None = None, limit: float = 4e9) -> None:
        self.bucket = np.asarray(bucket, np.int64)
        self.limit = limit
        self.steps: dict[Buckets, int] = {}
        self._folder = folder or self._temporary_folder()
        # A log whose folder this one shares must live as long.
        self._owner: UpdateLog | None = None
        # Where each sum is in the file, and the places that a resumed training would need.
        self._place: dict[Buckets, int] = {}
        self._protected: frozenset[int] = frozenset()
        self._size = 0
        self._before: Tensor | None = None

    def _temporary_folder(self) -> Path:
        """A folder that is deleted with this object; those that killed processes left go first."""
        block = ExitStack()
        weakref.finalize(self, block.close)
        return block.enter_context(unfinished_folder(Path(tempfile.gettempdir()) / "forgetmi-log"))

    @torch.no_grad()
    def before_step(self, model: Any, batch: Batch) -> None:
        """Remember the weights."""
        self._before = _vector(model)

    @torch.no_grad()
    def after_step(self, model: Any, batch: Batch) -> None:
        """Add the step's update to the sum of its set of buckets."""
        if self._before is None:
            raise MethodError(Fault("a step ended that had not begun"))

        # The buckets of the batch's patients.
        codes = np.unique(self.bucket[batch.row.cpu().numpy()])
        buckets: Buckets = tuple(codes.tolist())

        # Added to the sum of these buckets, if there is one.
        update = _vector(model) - self._before
        self._size = update.numel()
        place = self._place.get(buckets)
        if place is not None:
            update += self._read(place)
        if place is None or place in self._protected:
            place = self._free_place()
        self._write(place, update)

        self._place[buckets] = place
        self.steps[buckets] = self.steps.get(buckets, 0) + 1
        self._before = None

    def after_epoch(self, model: Any, optimiser: Any, done: int) -> None:
        """Nothing is kept of an epoch."""

    @property
    def sums(self) -> dict[Buckets, Tensor]:
        """The sum of each set of buckets, Float[parameters], read from the disk as it is used."""
        return {buckets: self._read(place) for buckets, place in self._place.items()}

    def affected(self, rows: Ints) -> list[Buckets]:
        """Sets of buckets with at least one of the given rows' buckets."""
        affected = set(self.bucket[rows].tolist())
        return [buckets for buckets in self._place if affected & set(buckets)]

    def updates(self, rows: Ints) -> Iterator[Tensor]:
        """The sums of updates from the given rows' buckets, one at a time."""
        for buckets in self.affected(rows):
            yield self._read(self._place[buckets])

    def without(self, rows: Ints) -> UpdateLog:
        """A log without the updates from the given rows' buckets; this one stays as it is."""
        # It shares the folder, and leaves sums out.
        removed = set(self.affected(rows))
        rest = UpdateLog(self.bucket, folder=self._folder, limit=self.limit)
        rest._owner, rest._size = self, self._size
        for buckets, place in self._place.items():
            if buckets not in removed:
                rest._place[buckets] = place
                rest.steps[buckets] = self.steps[buckets]
        return rest

    def state_dict(self) -> dict[str, Any]:
        """Which sums there are; from now on they are not overwritten."""
        self._protected = frozenset(self._place.values())
        return {"place": dict(self._place), "steps": dict(self.steps), "size": self._size}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Return to those sums."""
        self._place = dict(state_dict["place"])
        self.steps = dict(state_dict["steps"])
        self._size = state_dict["size"]
        self._protected = frozenset(self._place.values())

    def save(self, path: Path) -> None:
        """Write to a folder; where it holds the sums already, only the index is written."""
        place = self._place

        # Copied to another folder, one sum after another.
        if path != self._folder:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
            with (path / UPDATES).open("wb") as file:
                for old in place.values():
                    file.write(self._read(old).numpy().data)
            place = {buckets: number for number, buckets in enumerate(place)}

        path.mkdir(parents=True, exist_ok=True)
        values = {
            "bucket": torch.tensor(self.bucket),
            "limit": self.limit,
            "place": place,
            "steps": self.steps,
            "size": self._size,
        }
        save_log(path / INDEX, "Amnesiac", values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MethodError: The files are damaged, or another method's.
        """
        values = load_log(path / INDEX, "Amnesiac")
        updates = path / UPDATES

        # The file must reach to the end of its last sum, 4 bytes a weight.
        sums = 1 + max(values["place"].values(), default=-1)
        needed = 4 * values["size"] * sums
        if needed and (not updates.is_file() or updates.stat().st_size < needed):
            raise MethodError(
                Fault("the training log is incomplete", where=f"{path.name}/{UPDATES}")
            )

        log = cls(values["bucket"].numpy(), folder=path, limit=values["limit"])
        log.load_state_dict(values)
        return log

    def _free_place(self) -> int:
        """The first place in the file that no sum needs."""
        # Neither a current sum nor one to resume from.
        used = self._protected | set(self._place.values())
        place = next(number for number in range(len(used) + 1) if number not in used)

        if 4 * self._size * (place + 1) > self.limit:
            steps = sum(self.steps.values())
            raise MethodError(
                Fault(
                    f"the log of updates would exceed {self.limit:.3g} bytes after {steps} steps",
                    do="Put patients into fewer buckets, or allow more.",
                )
            )
        return place

    def _write(self, place: int, update: Tensor) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # The index of an earlier log in this folder no longer fits.
        (self._folder / INDEX).unlink(missing_ok=True)
        (self._folder / UPDATES).touch()

        with (self._folder / UPDATES).open("r+b") as file:
            file.seek(4 * self._size * place)
            file.write(update.numpy().data)

    def _read(self, place: int) -> Tensor:
        # Copy-on-write: the file stays as it is whatever becomes of the tensor.
        values = np.memmap(
            self._folder / UPDATES,
            np.float32,
            mode="c",
            shape=(self._size,),
            offset=4 * self._size * place,
        )
        return torch.from_numpy(values)


def _vector(model: Any) -> Tensor:
    """All weights as one vector, copied to the CPU."""
    parts = [parameter.detach().reshape(-1) for parameter in model.parameters()]
    return torch.cat(parts).float().cpu()
