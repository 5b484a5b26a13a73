"""An ensemble trained on separate groups of patients, and what its training leaves for unlearning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast, final

import torch
from torch import Tensor, nn

from forgetmi.methods.training_log import load_log, save_log
from forgetmi.model.image_text import ImageText
from forgetmi.types import Batch, Ints, Outputs

Weights = dict[str, Tensor]


@final
class Ensemble(nn.Module):
    """Several models as one: mean probabilities of each head, as log-probabilities; no embeddings."""

    def __init__(self, members: Sequence[ImageText]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def member(self, number: int) -> ImageText:
        """One of the models."""
        return cast(ImageText, self.members[number])

    def forward(self, batch: Batch) -> Outputs:
        """Log of the members' mean probabilities, Float[b, k] for each head."""
        outputs: list[Outputs] = [member(batch) for member in self.members]
        return Outputs(_mean([out.image_logits for out in outputs]), _mean([out.text_logits for out in outputs]))


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
        save_log(path, "SISA", {"shard": torch.tensor(self.shard), "slice": torch.tensor(self.slice),
                                "weights": [list(shard) for shard in self.weights]})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MethodError: The file is damaged, or another method's.
        """
        values = load_log(path, "SISA")
        return cls(values["shard"].numpy(), values["slice"].numpy(), tuple(map(tuple, values["weights"])))


def _mean(logits: list[Tensor]) -> Tensor:
    """Log of the mean of the probabilities."""
    return torch.stack([one.log_softmax(dim=1) for one in logits]).logsumexp(dim=0) - math.log(len(logits))
