"""What passes between loaders, models and whoever watches a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from forgetmi.core.arrays import Ints

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Samples as tensors.

    Args:
        image: Float[b, 1, h, w], in [0, 1].
        tokens: Int64[b, l], padded to the longest text of the batch.
        mask: Int64[b, l], 1 = a token, 0 = padding.
        label: Int64[b], -1 = unknown.
        study: Int64[b], equal for images that share a report.
        row: Int64[b], row in the cohort.
    """

    image: Tensor
    tokens: Tensor
    mask: Tensor
    label: Tensor
    study: Tensor
    row: Tensor

    def __len__(self) -> int:
        return int(self.label.shape[0])

    def to(self, device: Any) -> Batch:
        """The same batch on another device."""
        return Batch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True)
class Outputs:
    """What a model returns for a batch of b samples.

    Args:
        image_logits, text_logits: Float[b, k] of the two heads.
        image_embedding, text_embedding, joint_embedding: Float[b, d]; None for models without (an ensemble).
    """

    image_logits: Tensor
    text_logits: Tensor
    image_embedding: Tensor | None = None
    text_embedding: Tensor | None = None
    joint_embedding: Tensor | None = None


class Model(Protocol):
    """Anything that maps a batch to outputs."""

    def __call__(self, batch: Batch) -> Outputs: ...


class Epochs(Protocol):
    """Batches over one set of rows, epoch by epoch; the order is a pure function of the epoch."""

    @property
    def rows(self) -> Ints: ...

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, /) -> Iterator[Batch]: ...


class Recorder(Protocol):
    """Watches training step by step (Amnesiac unlearning logs the updates of each patient group).

    Its state is saved with the training's after each epoch; an interrupted training takes it back and goes on. State
    holds tensors and plain values only; what is too large for that is written to the disk as it comes.
    """

    def before_step(self, model: Any, batch: Batch) -> None: ...

    def after_step(self, model: Any, batch: Batch) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None: ...
