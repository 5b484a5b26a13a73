"""The log of a sharded training: each patient's shard and slice, and the weights after each slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.task import Task
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.training_log import load_log, save_log

Weights = dict[str, Tensor]


@final
@dataclass(frozen=True, eq=False, repr=False)
class SliceLog:
    """Every patient's shard and slice, and the weights after each slice.

    Storage is 4 bytes x parameters x slices x shards.

    Checkpoints after a patient's slice remember the patient: replace this log by the one that unlearning returns.

    Args:
        shard, slice: Int[n] for every row of the cohort, -1 = not trained on.
        weights: State of each shard's model after each slice.
    """

    shard: Ints
    slice: Ints
    weights: tuple[tuple[Weights, ...], ...]

    def ensemble(self, fresh_model: Callable[[int], NetModule], *, task: Task) -> Ensemble:
        """The trained model: each shard's weights after its last slice."""
        # Each shard's model with the weights after its last slice.
        members = [fresh_model(0) for _ in self.weights]
        for member, weights in zip(members, self.weights, strict=True):
            member.load_state_dict(weights[-1])
        return Ensemble(members, task=task).eval()

    def save(self, path: Path) -> None:
        """Write to a file."""
        # Plain tensors and lists.
        values = {
            "shard": torch.tensor(self.shard),
            "slice": torch.tensor(self.slice),
            "weights": [list(shard_weights) for shard_weights in self.weights],
        }
        save_log(path, "SISA", values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MethodError: The file is damaged, or another method's.
        """
        # As `save` stored them.
        values = load_log(path, "SISA")
        weights = tuple(tuple(shard_weights) for shard_weights in values["weights"])
        return cls(values["shard"].numpy(), values["slice"].numpy(), weights)


@final
class Slices:
    """A sharded training under way: the weights after each slice and the epochs so far, as a resumable part.

    Args:
        shard, slice: As in `SliceLog`.
        weights: Weights of slices already trained; anything for slices that will be trained.
    """

    def __init__(self, shard: Ints, slice: Ints, weights: Sequence[Sequence[Weights]]) -> None:
        self.shard = shard
        self.slice = slice

        # Copied, because training replaces entries.
        self.weights = [list(shard_weights) for shard_weights in weights]
        self.epochs: list[dict[str, Any]] = []

    def rows(self, number: int, last: int) -> Ints:
        """Rows a shard is trained on up to a slice, sorted."""
        return np.flatnonzero((self.shard == number) & (self.slice <= last))

    def log(self) -> SliceLog:
        """The log of the finished training."""
        return SliceLog(self.shard, self.slice, tuple(map(tuple, self.weights)))

    def state_dict(self) -> dict[str, Any]:
        """What changes from slice to slice."""
        return {"weights": self.weights, "epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Restore it."""
        self.weights = state_dict["weights"]
        self.epochs = state_dict["epochs"]
