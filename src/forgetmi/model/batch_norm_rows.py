"""Which samples a batch norm learns its statistics from: those alone that have what its encoder reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch
from forgetmi.core.inputs import Inputs, each_tensor
from forgetmi.model.modes import evaluating


def learns_statistics(module: nn.Module) -> bool:
    """Whether a batch norm of a module uses, in the modes that are set now, the statistics of its batch."""
    return any(
        isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training
        for part in module.modules()
    )


def of_those_there(
    run: Callable[[Inputs], Any],
    x: Inputs,
    batch: Batch,
    modality: str,
    *,
    module: nn.Module,
    whole: Batch | None = None,
) -> Any:
    """An encoder's outputs for a batch, without the samples that lack its modality where they would be learned from.

    A film that is not there is black, and a batch norm in training mode would count it among the others. Where nothing
    is learned from the batch, or nobody lacks the modality, the encoder gets all samples.

    Args:
        run: The encoder, from inputs to one tensor of b rows or several.
        x: Its inputs, of all samples.
        batch: The samples.
        modality: Of the encoder.
        module: The encoder's module, whose modes count.
        whole: The batch of which another process computes the rest; None = this is all of it.

    Returns:
        As the encoder gives them; rows of absent samples are 0.
    """
    if modality not in batch.present or not learns_statistics(module):
        return run(x)

    # Where nobody has it, nothing is learned
    everyone = (batch if whole is None else whole).there(modality)
    if not bool(everyone.any()):
        with evaluating(module):
            return run(x)

    # A sample that is alone would have no variance where its map is a single value
    rows = torch.nonzero(batch.there(modality)).flatten()
    again = rows.repeat(2) if len(everyone) and int(everyone.sum()) == 1 else rows
    found = run(each_tensor(x, lambda values: values[again]))

    def scattered(values: Tensor) -> Tensor:
        """Rows of those who are there, at their places."""
        empty = values.new_zeros((len(batch), *values.shape[1:]))
        return empty.index_put((rows,), values[: len(rows)])

    if isinstance(found, Tensor):
        return scattered(found)
    return tuple(scattered(values) for values in found)
