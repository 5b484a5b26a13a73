"""Several processes on one task, started by torchrun or accelerate: each does its share, and all know the result.

Every process runs the same program on the same batches. The model takes a share of each batch's samples and hands all
outputs to all processes; losses, steps and everything else a method does are then the same everywhere, and gradients
are averaged over the processes as they leave the model. Methods know nothing of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.func import functional_call

from forgetmi.core.errors import Fault, SpecError

_PATIENCE = timedelta(days=2)  # one process may wait long for another
_shares = 1  # of a batch, where one process works alone


def count() -> int:
    """How many processes work together here."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if count() > 1 else 0


def share(samples: int, *, of: int | None = None, number: int | None = None) -> slice:
    """Which samples of a batch are a process's: this one's, or those of process ``number`` among ``of``."""
    of, number = count() if of is None else of, rank() if number is None else number
    return slice(samples * number // of, samples * (number + 1) // of)


def shares() -> int:
    """In how many shares a batch is computed: one a process, or as many as `in_micro_batches` asks of a single process."""
    return _shares if count() == 1 else count()


@contextmanager
def in_micro_batches(asked: int) -> Iterator[None]:
    """Let one process compute each batch, in a block, in the shares that several processes would take.

    What differs between one process and several is the rounding of smaller batches, which a long unlearning enlarges.
    With the same shares that is gone: after two shares in one process and one in each of two there are the same bits,
    on the same kind of processor and threads, if neither was interrupted under another number. More than two gradients
    may be added in another order. Batches in training mode are computed whole, because their statistics and dropout
    are.

    Args:
        asked: Number of shares, >= 1; several processes take one each.

    Raises:
        SpecError: Less than 1, or several processes are asked for another number than theirs.
    """
    global _shares
    if asked < 1 or (count() > 1 and asked not in (1, count())):
        raise SpecError(
            Fault(
                f"a batch cannot be computed in {asked} shares",
                where="--shares",
                why=f"there are {count()} processes with one share each" if count() > 1 else "",
                do="Leave the option out." if count() > 1 else "Choose 1 or more.",
            )
        )
    before, _shares = _shares, asked
    try:
        yield
    finally:
        _shares = before


def sharded() -> bool:
    """Whether the launcher asks for FSDP: trained weights are then spread over the processes."""
    return count() > 1 and _asked("FSDP")


def _asked(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true"


@contextmanager
def together() -> Iterator[None]:
    """Join the processes of a launcher for a block: gloo between processors, nccl between GPUs.

    Raises:
        SpecError: The launcher asks for DeepSpeed.
    """
    if _asked("DEEPSPEED"):
        raise SpecError(
            Fault(
                "DeepSpeed is not supported",
                where="accelerate",
                do="Launch with FSDP (accelerate launch --use_fsdp) to spread a model over processes.",
            )
        )
    from accelerate import PartialState

    gpu = torch.cuda.is_available()
    PartialState(
        cpu=not gpu, timeout=_PATIENCE, **({"backend": "cuda:nccl,cpu:gloo"} if gpu else {})
    )
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


@contextmanager
def own_output(words: Sequence[str]) -> Iterator[list[str]]:
    """The words of a command for this process: all but the first work on a copy of ``--out`` that is thrown away.

    So one process alone writes files and shows progress, while all see the same finished stages and saved progress.

    Args:
        words: Arguments of a command with the option ``--out``, in a folder all processes can read.
    """
    joined = [
        f"--out={words[at + 1]}" if word == "--out" else word
        for at, word in enumerate(words)
        if at == 0 or words[at - 1] != "--out"
    ]
    at = next((at for at, word in enumerate(joined) if word.startswith("--out=")), None)
    if at is None:  # the command itself says what is missing
        yield joined
        return
    out = Path(joined[at].removeprefix("--out="))
    with tempfile.TemporaryDirectory(prefix="forgetmi-") as folder:
        if rank() > 0:
            _copy(out, Path(folder))
        dist.barrier()
        if rank() == 0:
            yield joined
            return
        joined[at] = f"--out={Path(folder) / out.name}"
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield joined


def _copy(out: Path, folder: Path) -> None:
    """Copy an output and the files beside it that belong to it."""
    for path in out.parent.glob("*") if out.parent.is_dir() else ():
        if path.name.removeprefix(".") == out.name or path.name.removeprefix(".").startswith(
            f"{out.name}."
        ):
            copied = folder / path.name
            _ = (
                shutil.copytree(path, copied, ignore=shutil.ignore_patterns(".lock"))
                if path.is_dir()
                else shutil.copyfile(path, copied)
            )


class _Averaged(torch.autograd.Function):
    """Weights as they are; their gradients become the mean over all processes, in one message."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.set_materialize_grads(
            False
        )  # a weight without a gradient stays without one: it must not decay
        return tuple(weight.view_as(weight) for weight in weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        there = [gradient for gradient in gradients if gradient is not None]
        if not there or count() == 1:
            return gradients
        flat = torch.cat([gradient.reshape(-1) for gradient in there])
        dist.all_reduce(flat)
        flat /= count()
        means = iter(flat.split([gradient.numel() for gradient in there]))
        return tuple(
            None if gradient is None else next(means).view_as(gradient) for gradient in gradients
        )


class _Whole(torch.autograd.Function):
    """One process's rows to everybody's. A loss of the whole is computed in every process: each takes the gradient of
    its own rows, times the number of processes, which averaging the weights' gradients takes out again."""

    @staticmethod
    def forward(ctx: Any, samples: int, *parts: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.set_materialize_grads(
            False
        )  # what no loss reads has no gradient, as in one process: it must not decay
        ctx.own = share(samples)
        widths = [part.shape[1] for part in parts]
        own = torch.cat(parts, dim=1)
        whole = own.new_zeros((samples, *own.shape[1:]))
        whole[ctx.own] = own
        dist.all_reduce(whole)
        return tuple(one.contiguous() for one in whole.split(widths, dim=1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return None, *(None if one is None else one[ctx.own] * count() for one in gradients)


class _Part(torch.autograd.Function):
    """This process's rows of what all have; the way back gives everybody the gradient of all rows."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor) -> Tensor:  # type: ignore[override]
        ctx.shape, ctx.own = whole.shape, share(len(whole))
        return whole[ctx.own].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        whole = gradient.new_zeros(ctx.shape)
        whole[ctx.own] = gradient
        dist.all_reduce(whole)
        return whole / count()


class _Total(torch.autograd.Function):
    """Sum over the processes, both ways."""

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


def total(value: Tensor) -> Tensor:
    """Sum of a tensor over the processes, differentiable."""
    return _Total.apply(value)  # type: ignore[return-value]


def part(whole: Tensor) -> Tensor:
    """This process's rows of a tensor that is the same in all, differentiable."""
    return _Part.apply(whole)  # type: ignore[return-value]


def whole(parts: Sequence[Tensor], samples: int) -> tuple[Tensor, ...]:
    """All rows of tensors of which each process has its `share`, differentiable, in one message.

    Args:
        parts: Float[own rows, width] each.
        samples: Number of all rows.
    """
    return cast(tuple[Tensor, ...], _Whole.apply(samples, *parts))


def averaged(*modules: nn.Module) -> list[Callable[..., Any]]:
    """The modules as functions whose weights get the mean gradient of all processes, of each forward pass as a whole.

    Args:
        modules: Without weights in common. Sharded ones see to that by themselves.
    """
    named = [
        [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
        if not isinstance(module, FSDPModule)
        else []
        for module in modules
    ]
    weights = [weight for pairs in named for _, weight in pairs]
    views = iter(cast(tuple[Tensor, ...], _Averaged.apply(*weights)) if weights else ())
    own = [{name: next(views) for name, _ in pairs} for pairs in named]
    return [partial(_call, module, one) for module, one in zip(modules, own, strict=True)]


def _call(module: nn.Module, weights: dict[str, Tensor], *arguments: Any, **options: Any) -> Any:
    return functional_call(module, weights, arguments, options)


@contextmanager
def own_dropout(training: bool) -> Iterator[None]:
    """Let each process draw its own dropout in a block, and leave the generators of all in step."""
    if not training:
        yield
        return
    seed = int(torch.randint(2**62, ()))
    with torch.random.fork_rng(
        devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []
    ):
        torch.manual_seed(seed + rank())
        yield
