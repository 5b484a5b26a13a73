"""The frozen original: a deep copy that shares no storage with the student, and its outputs computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from forgetmi.types import Batch, Outputs

M = TypeVar("M", bound=nn.Module)


def frozen(model: M) -> M:
    """A deep copy in eval mode without gradients; parameters and buffers never change again."""
    copied = copy.deepcopy(model).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
    return copied


@dataclass(frozen=True)
class Table:
    """Outputs of a frozen model, one row per sample, looked up by cohort row.

    Args:
        position: Int64[largest row + 1], -1 where a row is not held.
        image, text, joint: Float[n, d] embeddings.
        image_logits, text_logits: Float[n, k].
    """

    position: Tensor
    image: Tensor
    text: Tensor
    joint: Tensor
    image_logits: Tensor
    text_logits: Tensor

    def of(self, rows: Tensor) -> Outputs:
        """The stored outputs of the given rows.

        Raises:
            KeyError: A row was never computed.
        """
        at = self.position[rows.cpu()]
        if bool((at < 0).any()):
            raise KeyError("no stored output for a row asked for")
        return Outputs(self.image_logits[at], self.text_logits[at], self.image[at], self.text[at], self.joint[at])


@torch.no_grad()
def tabulate(teacher: nn.Module, batches: Iterable[Batch]) -> Table:
    """Run a frozen model once over some batches and keep its outputs.

    The batches must not depend on what was computed before (fixed rows in a fixed order), or a resumed run would round
    differently.

    Args:
        teacher: A frozen model (see `frozen`).
        batches: The samples; a row that occurs twice keeps its last output.
    """
    rows, outputs = [], []
    for batch in batches:
        rows.append(batch.row.cpu())
        outputs.append(teacher(batch))
    row = torch.cat(rows)
    position = torch.full((int(row.max()) + 1,), -1, dtype=torch.long)
    position[row] = torch.arange(len(row))
    return Table(position, *(torch.cat([getattr(output, name) for output in outputs]) for name in (
        "image_embedding", "text_embedding", "joint_embedding", "image_logits", "text_logits")))
