"""An accelerator that is not there: what crosses to it and what waits for it are counted, nothing is computed.

It is PyTorch's "meta" device, whose tensors have shapes and types and no values; operations that need a value of a
tensor, such as choosing rows by a mask, raise.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CARD = "meta"


class Crossing(NamedTuple):
    """A tensor that was copied to the card: its type, its shape, and whether the copy may go on beside other work."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    non_blocking: bool


@dataclass
class Card:
    """What was seen of an accelerator.

    Args:
        crossings: Copies to it, in order.
        waits: How often the processor asked for a value while work was on its way.
        busy: Whether work was launched since then.
    """

    crossings: list[Crossing] = field(default_factory=list)
    waits: int = 0
    busy: bool = False

    def films(self) -> list[Crossing]:
        """The copies of pictures: square, and larger than a kernel."""
        found = []
        for crossing in self.crossings:
            square = len(crossing.shape) in (3, 4) and crossing.shape[-1] == crossing.shape[-2]
            if square and crossing.shape[-1] > 7:
                found.append(crossing)
        return found


class _Watching(TorchDispatchMode):
    """Notes copies and waits, and gives ones where values are asked for."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self._card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first: Any = args[0] if args else None
        name = func.overloadpacket.__name__

        # In inference mode conversions arrive whole; what they consist of is looked at.
        if name == "to":
            with self:
                return func.decompose(*args, **kwargs)

        # A value is asked for: all that was launched before must be done.
        if name == "_local_scalar_dense" and _there(first):
            return self._values(first, first.dtype).item()
        if name == "_to_copy" and kwargs.get("device") is not None:
            kind = kwargs.get("dtype") or first.dtype
            if _there(first) and torch.device(kwargs["device"]).type == "cpu":
                return self._values(first, kind)
            if not _there(first) and torch.device(kwargs["device"]).type == CARD:
                beside = bool(kwargs.get("non_blocking", False))
                self._card.crossings.append(Crossing(first.dtype, tuple(first.shape), beside))

        found = func(*args, **kwargs)
        if _there(found) and not func.is_view:
            self._card.busy = True
        return found

    def _values(self, tensor: Tensor, kind: torch.dtype) -> Tensor:
        """Values on the processor in place of a tensor's own."""
        self._card.waits += self._card.busy
        self._card.busy = False
        return torch.ones(tensor.shape, dtype=kind)


def _there(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == CARD


@contextmanager
def fake_card() -> Iterator[Card]:
    """An accelerator named `CARD` for a block."""
    card = Card()
    with pytest.MonkeyPatch.context() as patch:
        # Its optimisers may be fused, as a real one's
        optimizer: Any = importlib.import_module("torch.optim.optimizer")
        fused = [*optimizer._get_fused_kernels_supported_devices(), CARD]
        patch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: [*fused])

        # Its noise is drawn without a generator: it has no values
        patch.setattr("forgetmi.data.noise.device_generator", lambda device, seed: None)
        with _Watching(card):
            yield card
