"""A series tower: convolutions over time, for ECGs and vital signs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.jit._trace import is_tracing
from torch.nn.functional import relu

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.inputs import Series
from forgetmi.model.towers.stages import run_stages

if TYPE_CHECKING:
    from forgetmi.model.tower_specs.measured import SeriesSpec


class SeriesTower(nn.Module):
    """Blocks of a convolution of stride 2, a norm over each time step's channels and ReLU; then the mean over time.

    What was not measured (NaN) is 0, the mean, and has an indicator a channel. Padding is 0 before every convolution,
    as what lies beyond the end is, and enters no mean: a series has the same embedding whatever stands beside it.

    Args:
        spec: See `forgetmi.model.tower_specs.measured.SeriesSpec`.
    """

    mean: Tensor
    std: Tensor
    words = ""

    def __init__(self, spec: SeriesSpec) -> None:
        super().__init__()
        self.spec = spec
        self.width = spec.widths[-1]
        shape = (1, spec.channels, 1)
        mean = torch.tensor(spec.mean or (0.0,) * spec.channels).reshape(shape)
        std = torch.tensor(spec.std or (1.0,) * spec.channels).reshape(shape)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

        blocks: list[nn.Module] = []
        before = 2 * spec.channels
        for width in spec.widths:
            blocks.append(_Block(before, width, spec.kernel))
            before = width
        self.blocks = nn.ModuleList(blocks)

    def prepare(self, raw: Series) -> Series:
        """Standardised values and indicators of what was measured, Float[b, 2 channels, t]; 0 in the padding.

        Raises:
            MethodError: Other channels, no time step, or an infinite number.
        """
        values, mask = raw.values, raw.mask
        if values.ndim != 3 or values.shape[1] != self.spec.channels or values.shape[2] == 0:
            raise MethodError(
                Fault(
                    f"the series have the shape {tuple(values.shape)}",
                    where="series tower",
                    why=f"it reads {self.spec.channels} channels of at least one time step",
                )
            )
        exporting = torch.compiler.is_compiling() or is_tracing()
        if not exporting and bool(values.isinf().any()):
            raise MethodError(Fault("a series holds an infinite number", where="series tower"))

        measured = ~values.isnan() & mask[:, None, :].bool()
        values = (values.masked_fill(~measured, 0.0) - self.mean) / self.std
        values = values.masked_fill(~measured, 0.0)
        return Series(torch.cat([values, measured.to(values.dtype)], dim=1), mask)

    def stages(self) -> tuple[str, ...]:
        """The blocks."""
        return tuple(f"blocks.{number}" for number in range(len(self.blocks)))

    def soft(self, x: Series) -> Series:
        """Gradients reach the values that were measured."""
        return x

    def forward(self, x: Series, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Embed series; see `forgetmi.model.towers.protocol.Tower`."""
        return run_stages(partial(self._embedding, x, start), list(self.blocks), stop=stop)

    def _embedding(self, x: Series, start: int) -> Tensor:
        mask = x.mask.bool()
        values = self.prepare(x).values if start == 0 else x.values

        # Every block halves the time steps; a step is there where the one in its middle was
        for number, block in enumerate(self.blocks):
            mask = mask[:, ::2]
            if number >= start:
                values = block(values)
            if number >= start - 1:
                values = values * mask[:, None, :].to(values.dtype)

        weight = mask[:, None, :].to(values.dtype)
        return (values * weight).sum(2) / weight.sum(2).clamp(min=1)


class _Block(nn.Module):
    """One convolution of stride 2, a norm over channels, ReLU."""

    def __init__(self, before: int, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, width, kernel, stride=2, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.norm(self.conv(x).mT).mT)
