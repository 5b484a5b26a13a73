"""A model between two others: weights mixed in one proportion."""

from __future__ import annotations

import torch

from forgetmi.core.net import JOIN, Part
from forgetmi.model.net_module import NetModule


@torch.no_grad()
def mix(student: NetModule, fresh: NetModule, *, keep: float) -> None:
    """Set every weight and running statistic but the gate's to ``keep`` x its own + ``(1 - keep)`` x the fresh one's.

    Args:
        student: Changed in place.
        fresh: Of the same architecture.
        keep: 0 to 1.
    """
    joining = student.parts().get(JOIN, Part(())).names
    fresh_values = fresh.state_dict()
    for name, value in student.state_dict().items():
        # Counters are no weights, and what joins the embeddings is fitted anew anyway.
        if value.is_floating_point() and name not in joining:
            value.mul_(keep).add_(fresh_values[name], alpha=1 - keep)
