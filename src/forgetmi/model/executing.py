"""Changing for a while how a model computes: its micro-batches, its cached prefixes, its recomputation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from forgetmi.core import distributed
from forgetmi.core.errors import Fault, SpecError
from forgetmi.model.net_module import net_modules


@contextmanager
def executing(model: nn.Module, **changes: Any) -> Iterator[None]:
    """Change how a model computes for a block. Copies made in the block stay as they were made.

    Args:
        model: A `NetModule`, or one that consists of them.
        changes: Fields of `Execution`.
    """
    # An ensemble's members may differ, so each gets its own back.
    members = net_modules(model)
    before = [member.execution for member in members]
    for member in members:
        member.execution = replace(member.execution, **changes)

    try:
        yield
    finally:
        for member, execution in zip(members, before, strict=True):
            member.execution = execution


@contextmanager
def in_micro_batches(model: nn.Module, number: int) -> Iterator[None]:
    """Let one process compute each batch, in a block, in the parts that several processes would take.

    What differs between one process and several is the rounding of smaller batches, which a long unlearning enlarges.
    With the same micro-batches that is gone: after two of them in one process and one in each of two processes there
    are the same bits, on the same kind of processor and threads, if neither was interrupted under another number. More
    than two gradients may be added in another order. Batches in training mode are computed whole, because their
    statistics and dropout are.

    Args:
        model: A `NetModule`, or one that consists of them. Copies made in the block stay divided.
        number: Number of micro-batches, >= 1; several processes compute one each.

    Raises:
        SpecError: Less than 1, another number than that of the processes, or a model that computes batches whole.
    """
    distributed.check_micro_batches(number)
    if number > 1 and not _divides(model):
        raise SpecError(
            Fault(
                f"the model cannot compute a batch in {number} parts",
                where="micro-batches",
                why="a model of your own computes it whole",
                do="Leave the option out.",
            )
        )
    with executing(model, micro_batches=number):
        yield


def micro_batches(model: nn.Module) -> int:
    """In how many micro-batches a model computes a batch: one a process, or as many as are set for one process."""
    # Several processes always compute one part each, of a model that can be divided.
    if not _divides(model):
        return 1
    if distributed.world_size() > 1:
        return distributed.world_size()

    return max((member.execution.micro_batches for member in net_modules(model)), default=1)


def _divides(model: nn.Module) -> bool:
    """Whether a model computes parts of a batch; one that is no `NetModule` decides nothing."""
    return all(member.divides for member in net_modules(model))
