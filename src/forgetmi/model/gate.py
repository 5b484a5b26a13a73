"""The multimodal adaptation gate: one embedding of the link between an image and its report."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MultimodalAdaptationGate(nn.Module):
    """Shift the image embedding by what the report adds: ``LayerNorm(e_i + alpha h)``.

    With g = sigmoid(a.[e_i; e_t]) and h = W [e_i; g e_t], alpha = min(beta |e_i| / (|h| + 1e-8), 1) for each sample.

    Args:
        width: Width d of both embeddings.
        beta: Largest length of the shift, as a multiple of the image embedding's, > 0.

    Source: the gate of Rahman et al. 2020 (ACL) in the form of the Forget-MI release, whose parameter names are kept.
    Deviations from the release: norms are taken per sample, not over the whole batch (a sample's embedding does not
    depend on its batch mates); beta is fixed at 1, not a random parameter; no dropout; the gate is fitted once instead
    of drawn anew at each step.
    """

    def __init__(self, width: int, *, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta
        self.fc1 = nn.Linear(2 * width, 1)
        self.fc2 = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Joint embedding.

        Args:
            image, text: Float[b, d] embeddings.

        Returns:
            Float[b, d].
        """
        # How much of the report each sample takes, g, and the shift it makes, h.
        weight = torch.sigmoid(self.fc1(torch.cat([image, text], dim=1)))
        shift = self.fc2(torch.cat([image, weight * text], dim=1))

        # The shift is at most beta times as long as the image embedding.
        length = torch.linalg.vector_norm(shift, dim=1, keepdim=True)
        longest = torch.linalg.vector_norm(self.beta * image, dim=1, keepdim=True)
        alpha = (longest / (length + 1e-8)).clamp(max=1.0)

        return self.norm(image + alpha * shift)
