"""What processes exchange while a model computes, forward and backward: rows, sums and mean gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.func import functional_call

from forgetmi.core import distributed


def all_sum(value: Tensor) -> Tensor:
    """Sum of a tensor over the processes, differentiable."""
    return _Sum.apply(value)  # type: ignore[return-value]


def scatter_rows(rows: Tensor) -> Tensor:
    """This process's rows of a tensor that is the same in all, differentiable."""
    return _Scatter.apply(rows)  # type: ignore[return-value]


def gather_rows(parts: Sequence[Tensor], samples: int) -> tuple[Tensor, ...]:
    """All rows of tensors of which each process has its `shard`, differentiable, in one message.

    Args:
        parts: Float[rows of this process, width] each.
        samples: Total number of rows.
    """
    return cast(tuple[Tensor, ...], _Gather.apply(samples, *parts))


def averaging_gradients(*modules: nn.Module) -> list[Callable[..., Any]]:
    """The modules as functions whose weights get the mean gradient of all processes, of each forward pass as a whole.

    Args:
        modules: Without weights in common. Sharded ones see to that by themselves.
    """
    # The names and weights of each module that move; FSDP averages the gradients of its own.
    names: list[list[str]] = []
    weights: list[Tensor] = []
    for module in modules:
        names.append([])
        if isinstance(module, FSDPModule):
            continue
        for name, weight in module.named_parameters():
            if weight.requires_grad:
                names[-1].append(name)
                weights.append(weight)

    # One view of each weight, through which its gradient passes: a single message for all of them.
    views: Sequence[Tensor] = ()
    if weights:
        views = cast(tuple[Tensor, ...], _AverageGradients.apply(*weights))

    # Each module computes with its own views.
    calls: list[Callable[..., Any]] = []
    remaining = iter(views)
    for module, own_names in zip(modules, names, strict=True):
        replaced = {}
        for name in own_names:
            replaced[name] = next(remaining)
        calls.append(partial(_call, module, replaced))
    return calls


def _call(module: nn.Module, weights: dict[str, Tensor], *arguments: Any, **options: Any) -> Any:
    return functional_call(module, weights, arguments, options)


class _AverageGradients(torch.autograd.Function):
    """Weights as they are; their gradients become the mean over all processes, in one message."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        # A weight without a gradient stays without one: it must not decay.
        ctx.set_materialize_grads(False)

        return tuple(weight.view_as(weight) for weight in weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        present = [gradient for gradient in gradients if gradient is not None]
        if not present or distributed.world_size() == 1:
            return gradients

        # All gradients as one vector, so that one message carries them.
        flat = torch.cat([gradient.reshape(-1) for gradient in present])
        dist.all_reduce(flat)
        flat /= distributed.world_size()

        # Cut apart again, in the weights' shapes.
        means = iter(flat.split([gradient.numel() for gradient in present]))
        averaged: list[Tensor | None] = []
        for gradient in gradients:
            if gradient is None:
                averaged.append(None)
            else:
                averaged.append(next(means).view_as(gradient))
        return tuple(averaged)


class _Gather(torch.autograd.Function):
    """One process's rows to everybody's. A loss of all rows is computed in every process: each takes the gradient of
    its own rows, times the number of processes, which averaging the weights' gradients takes out again."""

    @staticmethod
    def forward(ctx: Any, samples: int, *parts: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        # What no loss reads has no gradient, as in one process: it must not decay.
        ctx.set_materialize_grads(False)

        # All tensors next to each other, so that one message carries them.
        widths = [part.shape[1] for part in parts]
        own = torch.cat(parts, dim=1)

        # The rows of the others are zeros here; the sum over the processes fills them.
        ctx.rows = distributed.shard(samples)
        everybody = own.new_zeros((samples, *own.shape[1:]))
        everybody[ctx.rows] = own
        dist.all_reduce(everybody)

        return tuple(part.contiguous() for part in everybody.split(widths, dim=1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        own: list[Tensor | None] = []
        for gradient in gradients:
            if gradient is None:
                own.append(None)
            else:
                own.append(gradient[ctx.rows] * distributed.world_size())
        return None, *own


class _Scatter(torch.autograd.Function):
    """This process's rows of what all have; the backward pass gives everybody the gradient of all rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # type: ignore[override]
        ctx.shape = rows.shape
        ctx.rows = distributed.shard(len(rows))
        return rows[ctx.rows].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        everybody = gradient.new_zeros(ctx.shape)
        everybody[ctx.rows] = gradient
        dist.all_reduce(everybody)
        return everybody / distributed.world_size()


class _Sum(torch.autograd.Function):
    """Sum over the processes, forward and backward."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # type: ignore[override]
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient
