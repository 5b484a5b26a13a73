"""Several processes on one task, started by torchrun or accelerate: each computes a part, and all know the result.

Every process runs the same program on the same batches. The model computes a shard of each batch's samples and hands
all outputs to all processes; losses, steps and everything else a method does are then the same everywhere, and
gradients are averaged over the processes as they leave the model (`forgetmi.core.collectives`). Methods know nothing
of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from forgetmi.core.errors import Fault, SpecError

# One process may wait long for another: the first one alone writes files and fetches weights.
_PATIENCE = timedelta(days=2)


def world_size() -> int:
    """How many processes work on this task."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def shard(samples: int) -> slice:
    """Which samples of a batch this process computes.

    Args:
        samples: Number of samples in the batch.
    """
    return micro_batch(samples, rank(), of=world_size())


def micro_batch(samples: int, number: int, *, of: int) -> slice:
    """Which samples of a batch are in a micro-batch; sizes differ by one at most.

    Args:
        samples: Number of samples in the batch.
        number: Number of the micro-batch, from 0.
        of: How many there are.
    """
    return slice(samples * number // of, samples * (number + 1) // of)


def check_micro_batches(number: int) -> None:
    """Refuse a number of micro-batches in which a batch cannot be computed here.

    Args:
        number: 1 or more; several processes compute one each.

    Raises:
        SpecError: Less than 1, or another number than that of the processes.
    """
    # One process can divide a batch as it likes; several have one part each.
    processes = world_size()
    if number >= 1 and processes == 1:
        return
    if number in (1, processes):
        return

    why, advice = "", "Choose 1 or more."
    if processes > 1:
        why = f"there are {processes} processes with one micro-batch each"
        advice = "Leave the option out."
    raise SpecError(
        Fault(
            f"a batch cannot be computed in {number} micro-batches",
            where="--micro-batches",
            why=why,
            do=advice,
        )
    )


def sharded() -> bool:
    """Whether the launcher asks for FSDP: trained weights are then spread over the processes."""
    return world_size() > 1 and _launcher_uses("FSDP")


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes of a launcher for a block: gloo between processors, nccl between GPUs.

    Raises:
        SpecError: The launcher asks for DeepSpeed.
    """
    if _launcher_uses("DEEPSPEED"):
        raise SpecError(
            Fault(
                "DeepSpeed is not supported",
                where="accelerate",
                do="Launch with FSDP (accelerate launch --use_fsdp) to spread a model over processes.",
            )
        )

    # Imported here: only a launcher's processes need accelerate.
    from accelerate import PartialState

    # Tensors on the processor go through gloo in either case.
    if torch.cuda.is_available():
        PartialState(cpu=False, timeout=_PATIENCE, backend="cuda:nccl,cpu:gloo")
    else:
        PartialState(cpu=True, timeout=_PATIENCE)

    # Nobody leaves before the first process has written everything.
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


@contextmanager
def per_process_dropout(training: bool) -> Iterator[None]:
    """Let each process draw its own dropout in a block, and leave the generators of all in step.

    Args:
        training: Whether dropout is drawn at all.
    """
    if not training:
        yield
        return

    # All processes draw the same seed from generators that are in step; each adds its own number.
    seed = int(torch.randint(2**62, ()))
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed + rank())
        yield


def _launcher_uses(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true"
