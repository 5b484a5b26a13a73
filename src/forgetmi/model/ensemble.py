"""Several models that predict as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule


@final
class Ensemble(nn.Module):
    """Several models as one: each head's mean prediction (of classes the log of mean probabilities); no embeddings.

    Args:
        members: At least one model, all of one architecture.
        task: Of the labels; it says what the mean of predictions is.
    """

    def __init__(self, members: Sequence[NetModule], *, task: Task) -> None:
        super().__init__()
        self.task = task
        self.members = nn.ModuleList(members)

    @property
    def spec(self) -> Any:
        """Architecture of each member."""
        return self.member(0).spec

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.member(0).device

    def member(self, number: int) -> NetModule:
        """One of the models."""
        return cast(NetModule, self.members[number])

    def forward(self, batch: Batch) -> Outputs:
        """The mean of the members' predictions, Float[b, k] for each head."""
        # Head by head; an embedding of several models has no meaning.
        outputs: list[Outputs] = [member(batch) for member in self.members]
        logits: dict[str, Tensor] = {}
        for head in outputs[0].logits:
            logits[head] = self.task.mean_prediction([output.logits[head] for output in outputs])
        return Outputs(logits)
