"""Training with the encoders' weights spread over the processes (FSDP), for models too large for one of them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from forgetmi.core import distributed
from forgetmi.model.image_text import ImageText
from forgetmi.model.resume import Stateful


def shard(model: ImageText) -> None:
    """Leave each process its share of every encoder weight, in place; gradients and moments are shared alike.

    The weights of a residual block or transformer layer are whole only while it computes, forward or backward.
    Gradients become means over the processes, as `forgetmi.core.distributed.averaged` makes them. An optimiser is made after.

    Args:
        model: The same whole model in every process. The gate stays whole.

    Source: `torch.distributed.fsdp.fully_shard` (FSDP2); Rajbhandari et al. 2020 (ZeRO stage 3, arXiv 1910.02054).
    """
    image, text = model.img_model, model.text_model
    blocks = [
        block
        for name, stage in image.named_children()
        if name.startswith("layer")
        for block in stage.children()
    ]
    layers = list(cast(nn.ModuleList, text.bert.encoder.layer))[
        :-1
    ]  # the last one's parts are called one by one
    mesh = init_device_mesh(model.device.type, (distributed.count(),))
    for encoder, units in ((image, blocks), (text, layers)):
        encoder.register_forward_hook(_own_storage)
        for unit in (*units, encoder):
            fully_shard(unit, mesh=mesh, reshard_after_forward=True)


def _own_storage(
    module: nn.Module, arguments: Any, outputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """What an encoder says, none of it a view: the weights' way back begins at these tensors."""
    return tuple(one.clone() for one in outputs)


@torch.no_grad()
def gather(model: ImageText) -> None:
    """Make a sharded model whole again in every process, in place: its encoders become plain modules."""
    plain = ImageText(model.spec).to(model.device).train(model.training)
    own = model.state_dict(keep_vars=True)
    for name, value in plain.state_dict(keep_vars=True).items():
        value.copy_(whole(own[name])).requires_grad_(own[name].requires_grad)
    plain.img_model.recompute, plain.text_model.recompute = (
        model.img_model.recompute,
        model.text_model.recompute,
    )
    model.img_model, model.text_model = plain.img_model, plain.text_model


def whole(value: Tensor) -> Tensor:
    """A tensor with all its shares; one that is not sharded as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


class WholeModel:
    """The state of a sharded model as one process would save it, so that any number of processes can go on.

    The first process keeps it; the others hand on nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        """Whole tensors."""
        return _kept(self._model.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Take a share of each tensor."""
        self._model.load_state_dict(
            {name: _share(state_dict[name], own) for name, own in self._model.state_dict().items()}
        )


class WholeOptimiser:
    """The same for an optimiser over sharded weights."""

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self._optimiser = optimiser

    def state_dict(self) -> dict[str, Any]:
        """Whole moments."""
        return _kept(self._optimiser.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Take a share of each moment."""
        weights = [weight for group in self._optimiser.param_groups for weight in group["params"]]
        state = {
            at: {name: _share(value, weights[at]) for name, value in kept.items()}
            for at, kept in state_dict["state"].items()
        }
        self._optimiser.load_state_dict({**state_dict, "state": state})


def resumable(
    model: ImageText, optimiser: torch.optim.Optimizer, *, sharded: bool
) -> dict[str, Stateful]:
    """Both as parts of an `EpochLoop`, whose file does not tell whether they were sharded."""
    return {
        "model": WholeModel(model) if sharded else model,
        "optimiser": WholeOptimiser(optimiser) if sharded else optimiser,
    }


def _kept(state: Any) -> Any:
    """Whole tensors in place of shares, on the processor: in the first process alone, though all take part."""
    if isinstance(state, Tensor):
        found = whole(state)
        return found.cpu() if distributed.rank() == 0 else None
    if isinstance(state, dict):
        return {name: _kept(value) for name, value in state.items()}
    return [_kept(value) for value in state] if isinstance(state, list) else state


def _share(value: Any, like: Tensor) -> Any:
    """A process's share of what all have, if it is of a sharded tensor's shape."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    return distribute_tensor(
        value.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )
