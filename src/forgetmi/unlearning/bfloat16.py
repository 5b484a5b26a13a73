"""Forward passes in bfloat16, for a model and every copy a method makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import TypeVar

import torch
from torch import nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.model.net_module import NetModule, net_modules

M = TypeVar("M", bound=nn.Module)


def lower(model: M, *, on: bool = True) -> M:
    """Let a model's forward passes run in bfloat16 where that is safe, and return their outputs in float32.

    Weights, losses and whatever else is made of outputs keep float32. Copies inherit it; `restore` takes it back.

    Args:
        model: A `NetModule`, or one that consists of them; changed in place.
        on: Whether to do so at all.

    Returns:
        The same model.
    """
    if not on:
        return model

    for part in net_modules(model):
        # On the instance, so that deep copies inherit it.
        vars(part)["forward"] = MethodType(_forward, part)
    return model


def restore(model: M) -> M:
    """Give a model its own forward pass back, in place."""
    for part in net_modules(model):
        vars(part).pop("forward", None)
    return model


@contextmanager
def lowered(model: nn.Module, *, on: bool) -> Iterator[None]:
    """`lower` a model for a block; copies made in it stay so."""
    try:
        lower(model, on=on)
        yield
    finally:
        restore(model)


def _forward(model: NetModule, batch: Batch, *, text_inputs: torch.Tensor | None = None) -> Outputs:
    # Autocast around one pass alone: it caches cast weights until it ends, and a step makes them stale.
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        outputs = type(model).forward(model, batch, text_inputs=text_inputs)

    # Losses are computed in full precision.
    return outputs.each(torch.Tensor.float)
