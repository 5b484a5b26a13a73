"""Targets drawn around a model's predictions: the Gumbel softmax, soft at a temperature or hard."""

from __future__ import annotations

import torch
from torch import Tensor

from forgetmi.core.batch import Outputs

# Difference in logits beyond which a probability is 0 in float32
_CERTAIN = 1e4


def noisy(outputs: Outputs, *, temperature: float, generator: torch.Generator) -> Outputs:
    """Logits of one draw of the Gumbel softmax for each sample and head.

    Args:
        outputs: Of n samples, with logits of classes.
        temperature: > 0 softens the draw; 0 = hard: all probability on one class, which is drawn as often as it is
            probable.
        generator: Of the draws, on the processor; the same on every device.

    Source: Jang et al. 2017 (arXiv 1611.01144), equation 1.
    """
    drawn: dict[str, Tensor] = {}
    for head, logits in outputs.logits.items():
        noise = gumbel(logits.shape, generator).to(logits)
        drawn[head] = _tempered(logits.log_softmax(dim=1) + noise, temperature)
    return Outputs(drawn)


def gumbel(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise, Float[shape]."""
    # Minus the logarithm of an exponential draw
    exponential = torch.empty(shape).exponential_(generator=generator)
    return -exponential.clamp(min=torch.finfo(torch.float32).tiny).log()


def _tempered(logits: Tensor, temperature: float) -> Tensor:
    """Divided by the temperature; at 0 the largest alone counts."""
    if temperature > 0:
        return logits / temperature
    certain = torch.full_like(logits, -_CERTAIN)
    return certain.scatter(1, logits.argmax(dim=1, keepdim=True), 0.0)
