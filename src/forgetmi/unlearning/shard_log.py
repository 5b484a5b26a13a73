"""What training on separate groups of patients leaves for unlearning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.training_log import load_log, save_log

Weights = dict[str, Tensor]


@final
@dataclass(frozen=True, eq=False, repr=False)
class SliceLog:
    """Where every patient was put, and the weights after each slice; storage is 4 bytes x parameters x slices x shards.

    Checkpoints after a patient's slice remember the patient: keep the log that unlearning hands back in place of this.

    Args:
        shard, slice: Int[n] for every row of the cohort, -1 = not trained on.
        weights: State of each shard's model after each slice.
    """

    shard: Ints
    slice: Ints
    weights: tuple[tuple[Weights, ...], ...]

    def ensemble(self, fresh_model: Callable[[int], ImageText]) -> Ensemble:
        """The trained model: each shard's weights after its last slice."""
        members = [fresh_model(0) for _ in self.weights]
        for member, weights in zip(members, self.weights, strict=True):
            member.load_state_dict(weights[-1])
        return Ensemble(members).eval()

    def save(self, path: Path) -> None:
        """Write to a file."""
        save_log(
            path,
            "SISA",
            {
                "shard": torch.tensor(self.shard),
                "slice": torch.tensor(self.slice),
                "weights": [list(shard) for shard in self.weights],
            },
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MethodError: The file is damaged, or another method's.
        """
        values = load_log(path, "SISA")
        return cls(
            values["shard"].numpy(), values["slice"].numpy(), tuple(map(tuple, values["weights"]))
        )


@final
class Slices:
    """A sharded training under way: the weights after each slice and the epochs so far, as a resumable part.

    Args:
        shard, slice: As in `SliceLog`.
        weights: What is there already; anything for slices that will be trained.
    """

    def __init__(self, shard: Ints, slice: Ints, weights: Sequence[Sequence[Weights]]) -> None:
        self.shard = shard
        self.slice = slice
        self.weights = [list(one) for one in weights]
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
        """Take it back."""
        self.weights, self.epochs = state_dict["weights"], state_dict["epochs"]
