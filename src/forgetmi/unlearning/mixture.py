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
        if not value.is_floating_point() or name in joining:
            continue

        # What both have in common, such as frozen public weights, stays as it is to the last bit.
        if not torch.equal(value, fresh_values[name]):
            value.mul_(keep).add_(fresh_values[name], alpha=1 - keep)
