"""Losses and norms of single steps, read from the device together: reading one of them at once would wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, final

import torch
from torch import Tensor

from forgetmi.core.devices import steps_between_reads

T = TypeVar("T")


@final
class StepValues(Generic[T]):
    """Keeps what steps computed where it was computed, and hands it on some steps later, in the order of the steps.

    On the processor each step's values are handed on at once. On an accelerator that would make every step wait until
    the one before is finished; there they are read once in `forgetmi.core.devices.STEPS_BETWEEN_READS` steps, and when
    `read` is called, which is due at the end of each epoch.

    Args:
        on_read: Called with what was said of a step and its values; it may raise, and the later steps are then dropped.

    Examples:
        >>> found = []
        >>> steps = StepValues(lambda step, values: found.append((step, values)))
        >>> steps.add(7, torch.tensor([0.5, 2.0]))
        >>> found
        [(7, [0.5, 2.0])]
    """

    def __init__(self, on_read: Callable[[T, list[float]], None]) -> None:
        self._on_read = on_read
        self._steps: list[T] = []
        self._values: list[Tensor] = []

    def add(self, step: T, values: Tensor) -> None:
        """Keep a step's values.

        Args:
            step: What `on_read` is told of the step.
            values: Float[v], the same number v for every step.
        """
        self._steps.append(step)
        self._values.append(values.detach())
        if len(self._steps) >= steps_between_reads(values.device):
            self.read()

    def read(self) -> None:
        """Hand on what is still kept."""
        if not self._steps:
            return

        # One reading for all of them.
        steps, rows = self._steps, torch.stack(self._values).tolist()
        self._steps, self._values = [], []
        for step, row in zip(steps, rows, strict=True):
            self._on_read(step, row)
