"""The gate of the authors' release, whose norms run over the whole batch."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from forgetmi.model.gate import MultimodalAdaptationGate


class ReleaseGate(nn.Module):
    """Joint embedding as the release computes it: ``dropout(LayerNorm(e_i + s a))``.

    With w = sigmoid(fc1 [e_i; e_t]) and a = fc2 [e_i; w e_t], s = min(beta |e_i| / |a|, 1). A new one draws its weights
    (and beta ~ N(0, 1)) from the global generator: set it with `forgetmi.core.seeding.scope`.

    Args:
        width: Width d of both embeddings.
        whole_batch: Whether both norms are taken over the whole batch, so that a sample's result depends on its batch
            mates; else per sample.
        dropout: Probability in train mode, 0 to below 1.

    Source: joint_embedding of the Forget-MI release (arXiv 2506.23145), after Rahman et al. 2020. With a negative beta
    (half of the time) s has no lower bound.
    """

    def __init__(self, width: int, *, whole_batch: bool = True, dropout: float = 0.1) -> None:
        super().__init__()
        self.whole_batch = whole_batch
        self.fc1 = nn.Linear(2 * width, 1)
        self.fc2 = nn.Linear(2 * width, width)
        self.beta = nn.Parameter(torch.randn(1))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def of(cls, gate: MultimodalAdaptationGate, *, whole_batch: bool, dropout: float) -> Self:
        """The release's formula with the weights of a fitted gate."""
        made = cls(gate.fc2.out_features, whole_batch=whole_batch, dropout=dropout).to(
            gate.fc1.weight
        )

        # Our gate's beta is a constant, the release's a parameter.
        with torch.no_grad():
            made.beta.fill_(gate.beta)
        made.load_state_dict({**gate.state_dict(), "beta": made.beta.detach()})
        return made

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Joint embedding Float[b, d] of Float[b, d] image and text embeddings."""
        # How much of the text shifts the image embedding.
        weight = torch.sigmoid(self.fc1(torch.cat([image, text], dim=1)))
        shift = self.fc2(torch.cat([image, weight * text], dim=1))

        # The shift is no longer than beta times the image embedding.
        scale = (self.beta * self._length(image) / self._length(shift)).clamp(max=1.0)
        return self.dropout(self.norm(image + scale * shift))

    def _length(self, values: Tensor) -> Tensor:
        if self.whole_batch:
            return torch.linalg.vector_norm(values)
        return torch.linalg.vector_norm(values, dim=1, keepdim=True)
