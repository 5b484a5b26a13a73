"""Small pieces every training loop of a method shares."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from forgetmi.errors import Fault, MethodError
from forgetmi.types import Batch, Outputs


def adamw(model: nn.Module, *, lr: float, weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW over the parameters that may move; biases and norm layers are not decayed.

    Frozen parameters are left out altogether: decay and moments would move them without a gradient (methods.md, R7).
    """
    free = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in free if p.ndim > 1], "weight_decay": weight_decay},
              {"params": [p for p in free if p.ndim <= 1], "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)


def embeddings(out: Outputs) -> tuple[Tensor, Tensor, Tensor]:
    """Image, text and joint embedding.

    Raises:
        MethodError: The model has none (an ensemble).
    """
    if out.image_embedding is None or out.text_embedding is None or out.joint_embedding is None:
        raise MethodError(Fault("this method needs a model with image, text and joint embeddings"))
    return out.image_embedding, out.text_embedding, out.joint_embedding


def split(out: Outputs, first: int) -> tuple[Outputs, Outputs]:
    """The outputs of the first samples of a batch, and of the rest."""
    def part(at: slice) -> Outputs:
        return replace(out, **{f.name: value[at] for f in fields(out) if (value := getattr(out, f.name)) is not None})
    return part(slice(0, first)), part(slice(first, None))


class Means:
    """Means of named loss terms over an epoch, weighted by samples."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._sum = torch.zeros(len(names), dtype=torch.float64)
        self._samples = 0

    def add(self, terms: Tensor, samples: int) -> None:
        """Add one batch; ``terms`` is Float[len(names)]."""
        self._sum += samples * terms.detach().double().cpu()
        self._samples += samples

    def read(self) -> dict[str, float]:
        """The means so far."""
        return dict(zip(self._names, (self._sum / max(self._samples, 1)).tolist(), strict=True))


def concatenate(*batches: Batch) -> Batch:
    """Several batches as one (one forward pass instead of several), padded to the longest text of all."""
    longest = max(batch.tokens.shape[1] for batch in batches)

    def wide(values: Tensor) -> Tensor:
        return nn.functional.pad(values, (0, longest - values.shape[1]))

    return Batch(
        image=torch.cat([batch.image for batch in batches]),
        tokens=torch.cat([wide(batch.tokens) for batch in batches]),
        mask=torch.cat([wide(batch.mask) for batch in batches]),
        **{name: torch.cat([getattr(batch, name) for batch in batches]) for name in ("label", "study", "row")},
    )
