"""What every tower is: one modality's inputs to one embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class Tower(Protocol):
    """One modality's inputs to one embedding; an `nn.Module`.

    A kind of tower is a file of this folder with its module, a specification in `forgetmi.model.tower_specs`, and a
    line in `pyproject.toml` (group ``forgetmi.towers``) that names the specification, as other packages may, too.
    """

    # Width of the embedding
    width: int

    @property
    def words(self) -> str:
        """Name of its table of word embeddings; empty = it has none."""
        ...

    @staticmethod
    def pretrained(spec: Any) -> Mapping[str, Tensor]:
        """Public weights of its specification by the names that they have in it; asked only where there are some."""
        ...

    def prepare(self, raw: Any) -> Any:
        """The batch's inputs as the encoder reads them; refuses another range, size or kind with a MethodError."""
        ...

    def stages(self) -> tuple[str, ...]:
        """Names of modules of this tower, from input to output, each with weights of its own; empty = unknown."""
        ...

    def forward(self, x: Any, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Float[b, width] of a batch's inputs.

        Args:
            x: The inputs of the modality; with ``start``, the output of the stage before it (of texts as `Tokens`, and
                of time series as `Series`, with the mask of the inputs).
            start: First stage to run.
            stop: The stage to stop before, whose input is returned.
        """
        ...

    def soft(self, x: Any) -> Any:
        """The same inputs in a form that `forward` takes, too, and that gradients reach (texts as word embeddings)."""
        ...
