"""Outputs of an encoder's first steps, held for some samples: what never changes need not be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from forgetmi.core.types import Batch


def fixed_steps(steps: Sequence[Sequence[nn.Module]]) -> int:
    """How many of an encoder's first steps give the same output for the same sample from now on.

    None of their weights may move, no batch norm uses the statistics of its batch, and no dropout acts, in the modes
    that are set now.

    Args:
        steps: The modules of each step, by depth.
    """
    return next(
        (
            number
            for number, parts in enumerate(steps)
            if not all(_fixed(module) for part in parts for module in part.modules())
        ),
        len(steps),
    )


def _fixed(module: nn.Module) -> bool:
    random = (isinstance(module, nn.Dropout) and module.p > 0) or isinstance(module, nn.BatchNorm2d)
    return not (
        (random and module.training)
        or any(p.requires_grad for p in module.parameters(recurse=False))
    )


@final
class Prefix:
    """What the first steps of one encoder gave, by row of the cohort; kept in main memory.

    Args:
        start: Number of those steps.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.size = 0
        self._values: dict[int, Tensor] = {}

    def keep(self, batch: Batch, values: Tensor) -> None:
        """Hold the outputs for a batch's rows; of a sequence the tokens alone, without padding."""
        sequence = values.ndim == 3
        for row, value, length in zip(
            batch.row.tolist(), values.cpu(), batch.mask.sum(1).tolist(), strict=True
        ):
            own = (value[:length] if sequence else value).clone()
            self._values[row] = own
            self.size += own.nbytes

    def of(self, batch: Batch) -> tuple[Tensor, int]:
        """The outputs for a batch's rows, padded with zeros as its texts are, and the step that reads them.

        Raises:
            KeyError: A row is not held.
        """
        values = pad_sequence([self._values[row] for row in batch.row.tolist()], batch_first=True)
        if (
            values.ndim == 3
        ):  # the step after the last layer reads the first token alone, whatever follows it
            values = nn.functional.pad(values, (0, 0, 0, batch.mask.shape[1] - values.shape[1]))
        return values.to(batch.image.device), self.start
