"""Several models that predict as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.model.net_module import NetModule


@final
class Ensemble(nn.Module):
    """Several models as one: mean probabilities of each head, as log-probabilities; no embeddings.

    Args:
        members: At least one model, all of one architecture.
    """

    def __init__(self, members: Sequence[NetModule]) -> None:
        super().__init__()
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
        """Log of the members' mean probabilities, Float[b, k] for each head."""
        # Head by head; an embedding of several models has no meaning.
        outputs: list[Outputs] = [member(batch) for member in self.members]
        logits: dict[str, Tensor] = {}
        for head in outputs[0].logits:
            logits[head] = _mean([output.logits[head] for output in outputs])
        return Outputs(logits)


def _mean(logits: list[Tensor]) -> Tensor:
    """Log of the mean of the probabilities."""
    log_probabilities = torch.stack([member.log_softmax(dim=1) for member in logits])

    # The sum of the probabilities, divided by their number, in the logarithm.
    return log_probabilities.logsumexp(dim=0) - math.log(len(logits))
