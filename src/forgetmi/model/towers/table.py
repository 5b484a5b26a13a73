"""A table tower: a multi-layer perceptron over columns, of which any may be missing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.jit._trace import is_tracing
from torch.nn.functional import one_hot

from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.towers.stages import run_stages

if TYPE_CHECKING:
    from forgetmi.model.tower_specs.measured import TableSpec


class TableTower(nn.Module):
    """Numbers standardised, categories one-hot, an indicator for each missing value, then linear layers with ReLU.

    A category that no training row has counts as missing.

    Args:
        spec: Resolved; see `forgetmi.model.tower_specs.measured.TableSpec`.
    """

    mean: Tensor
    std: Tensor
    words = ""

    def __init__(self, spec: TableSpec) -> None:
        super().__init__()
        self.spec = spec
        self.width = spec.width
        self.register_buffer("mean", torch.tensor(spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std), persistent=False)

        # A number, or one cell a category; and an indicator of each column
        before = sum(count or 1 for count in spec.categories) + len(spec.columns)
        layers: list[nn.Module] = []
        for width in spec.hidden:
            layers.append(
                nn.Sequential(nn.Linear(before, width), nn.ReLU(), nn.Dropout(spec.dropout))
            )
            before = width
        layers.append(nn.Linear(before, spec.width))
        self.layers = nn.ModuleList(layers)

    def prepare(self, raw: Tensor) -> Tensor:
        """Float[b, c] with NaN = missing to Float[b, features], all finite.

        Raises:
            MethodError: There are other columns than in training, or an infinite number.
        """
        columns = len(self.spec.columns)
        if raw.ndim != 2 or raw.shape[1] != columns:
            raise MethodError(
                Fault(
                    f"the table has the shape {tuple(raw.shape)}",
                    where="table tower",
                    why=f"it reads {columns} columns",
                    do="Give the columns that it was trained on.",
                )
            )
        exporting = torch.compiler.is_compiling() or is_tracing()
        if not exporting and bool(raw.isinf().any()):
            raise MethodError(Fault("the table holds an infinite number", where="table tower"))

        # 0 is the mean of the training rows
        missing = raw.isnan()
        values = (raw.masked_fill(missing, 0.0) - self.mean) / self.std
        values = values.masked_fill(missing, 0.0)

        cells: list[Tensor] = []
        for place, count in enumerate(self.spec.categories):
            if count == 0:
                cells.append(values[:, place : place + 1])
                continue
            code = raw[:, place]
            known = (code >= 0) & (code < count) & (code == code.round())
            missing = missing.clone()
            missing[:, place] = ~known
            index = code.masked_fill(~known, 0).long()
            cells.append(one_hot(index, count) * known[:, None].to(values.dtype))
        return torch.cat([*cells, missing.to(values.dtype)], dim=1)

    def stages(self) -> tuple[str, ...]:
        """The layers."""
        return tuple(f"layers.{number}" for number in range(len(self.layers)))

    def soft(self, x: Tensor) -> Tensor:
        """Gradients reach the columns of numbers; categories have none."""
        return x

    def forward(self, x: Tensor, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Embed rows of the table; see `forgetmi.model.towers.protocol.Tower`."""
        return run_stages(
            partial(self._embedding, x, start), list(self.layers), start=start, value=x, stop=stop
        )

    def _embedding(self, x: Tensor, start: int) -> Tensor:
        if start == 0:
            x = self.prepare(x)
        for layer in self.layers:
            x = layer(x)
        return x
