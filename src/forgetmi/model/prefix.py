"""Cached outputs of an encoder's first steps: what never changes need not be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from forgetmi.core.batch import Batch


def fixed_steps(steps: Sequence[Sequence[nn.Module]]) -> int:
    """How many of an encoder's first steps give the same output for the same sample from now on.

    None of their weights may move, no batch norm uses the statistics of its batch, and no dropout acts, in the modes
    that are set now.

    Args:
        steps: The modules of each step, by depth.
    """
    for number, parts in enumerate(steps):
        if not all(_fixed(part) for part in parts):
            return number
    return len(steps)


def _fixed(part: nn.Module) -> bool:
    """Whether nothing in a part of an encoder moves or is random."""
    for module in part.modules():
        # Dropout draws, and batch norm depends on the other samples; both in training mode only.
        random = isinstance(module, nn.BatchNorm2d)
        if isinstance(module, nn.Dropout):
            random = module.p > 0
        random = random or _drops_by_itself(module)
        if random and module.training:
            return False

        if any(weight.requires_grad for weight in module.parameters(recurse=False)):
            return False

    return True


def _drops_by_itself(module: nn.Module) -> bool:
    """Whether a module draws dropout without a layer for it, as attention layers of libraries do."""
    own = vars(module)
    shares = [value for name, value in own.items() if "dropout" in name]
    return any(isinstance(share, float) and share > 0 for share in shares)


@final
class Prefix:
    """Outputs of the first steps of one encoder, by row of the cohort; kept in main memory.

    Args:
        start: Number of those steps.
        of_texts: Whether they are the steps of a text encoder, whose outputs are padded as the batch's texts are.
    """

    def __init__(self, start: int, *, of_texts: bool = True) -> None:
        self.start = start
        self.of_texts = of_texts
        self.size = 0  # bytes
        self._values: dict[int, Tensor] = {}

    def keep(self, batch: Batch, values: Tensor) -> None:
        """Store the outputs for a batch's rows; of a sequence the tokens alone, without padding.

        Args:
            batch: The samples.
            values: Float[b, ...], their outputs.
        """
        rows = batch.plain_rows()
        padded = self.of_texts and values.ndim == 3
        lengths = batch.mask.sum(1).tolist() if padded else [None] * len(rows)
        for row, value, length in zip(rows, values.cpu(), lengths, strict=True):
            if padded:
                value = value[:length]
            self._values[row] = value.clone()
            self.size += self._values[row].nbytes

    def of(self, batch: Batch) -> tuple[Tensor, int]:
        """The outputs for a batch's rows, padded with zeros as its texts are, and the step that reads them.

        Raises:
            KeyError: A row is not stored.
        """
        rows = batch.plain_rows()
        values = pad_sequence([self._values[row] for row in rows], batch_first=True)

        # As long as the batch's longest text. The step after the last layer reads the first token alone, whatever
        # follows it.
        if self.of_texts and values.ndim == 3:
            missing = batch.mask.shape[1] - values.shape[1]
            values = nn.functional.pad(values, (0, 0, 0, missing))

        return values.to(batch.row.device), self.start
