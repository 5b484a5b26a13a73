"""Encoders compiled or captured where that is asked for: far fewer launches, the same outputs but for rounding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from torch import Tensor, nn

from forgetmi.core.compile_mode import Compile

logger = logging.getLogger(__name__)

# Names of these ways in `torch.compile`
_MODES = {"on": "default", "graphs": "reduce-overhead"}

# Shapes that one encoder is compiled for: lengths of reports, last batches, training and evaluation.
_SHAPES = 64

# Set on an encoder that could not be compiled; its copies have it, too.
_PLAIN = "runs_uncompiled"


def compiled(encoder: nn.Module, how: Compile) -> Callable[..., Any]:
    """An encoder as it is to be run; forward and backward pass are compiled when a shape first comes.

    Dropout draws what it draws uncompiled. An encoder that cannot be compiled runs as it is, which is logged once.

    Args:
        encoder: Its weights stay its own; a deep copy of it is compiled anew.
        how: off; on (kernels are fused); graphs (they are launched together, too, where the device can do that).

    Returns:
        A function of the encoder's own arguments.
    """
    if how == "off" or vars(encoder).get(_PLAIN, False):
        encoder._compiled_call_impl = None
        return encoder
    return partial(_run, encoder, how)


def _run(encoder: nn.Module, how: Compile, *args: Any, **kwargs: Any) -> Any:
    """Run an encoder compiled; as it is where that fails."""
    from torch._dynamo.exc import TorchDynamoException

    if encoder._compiled_call_impl is None:
        encoder.compile(mode=_MODES[how], dynamic=False)
    try:
        with _settings():
            outputs = encoder(*args, **kwargs)
    except TorchDynamoException as error:
        encoder._compiled_call_impl = None
        vars(encoder)[_PLAIN] = True
        _tell(type(error).__name__)
        return encoder(*args, **kwargs)

    # A graph's own memory is written again when it is next launched.
    return _cloned(outputs) if how == "graphs" else outputs


@contextmanager
def _settings() -> Iterator[None]:
    """What holds while a shape may be compiled."""
    import torch._dynamo.config as tracing
    import torch._functorch.config as differentiating
    import torch._inductor.config as generating

    # The backward pass is compiled with the forward pass, so that whatever fails does so there; hooks that a method
    # sets later are heeded.
    with (
        tracing.patch(recompile_limit=_SHAPES, skip_nnmodule_hook_guards=False),
        differentiating.patch(force_non_lazy_backward_lowering=True),
        generating.patch(fallback_random=True),
    ):
        yield


def _cloned(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.clone()
    return tuple(_cloned(output) for output in outputs)


@cache
def _tell(reason: str) -> None:
    """Say once that something is not compiled."""
    logger.warning("an encoder could not be compiled (%s) and runs as it is", reason)
