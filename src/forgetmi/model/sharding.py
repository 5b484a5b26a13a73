"""Training with the encoders' weights spread over the processes (FSDP), for models too large for one of them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from forgetmi.core import distributed
from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.image_text import ImageText
from forgetmi.model.net_module import NetModule
from forgetmi.model.resume import Stateful


def shard(model: NetModule) -> None:
    """Leave each process its shard of every encoder weight, in place; gradients and moments are spread alike.

    The weights of a residual block or transformer layer are whole only while it computes, forward or backward.
    Gradients become means over the processes, as `forgetmi.core.collectives.averaging_gradients` makes them. An
    optimiser is made after.

    Args:
        model: The same whole model in every process. The gate stays whole.

    Raises:
        MethodError: It is another model than an `ImageText`, whose units nobody knows.

    Source: `torch.distributed.fsdp.fully_shard` (FSDP2); Rajbhandari et al. 2020 (ZeRO stage 3, arXiv 1910.02054).
    """
    if not isinstance(model, ImageText):
        raise MethodError(
            Fault(
                "the weights of this model cannot be sharded",
                why="only those of the package's own architecture can",
                do="Launch without FSDP.",
            )
        )
    image, text = model.img_model, model.text_model

    # Units that are gathered one at a time: residual blocks, and transformer layers but the last one, whose parts are
    # called one by one.
    blocks = []
    for name, stage in image.named_children():
        if name.startswith("layer"):
            blocks.extend(stage.children())
    layers = list(cast(nn.ModuleList, text.bert.encoder.layer))[:-1]

    # Units first, then the encoder around them, which takes what is left.
    mesh = init_device_mesh(model.device.type, (distributed.world_size(),))
    for encoder, units in ((image, blocks), (text, layers)):
        encoder.register_forward_hook(_own_storage)
        for unit in (*units, encoder):
            fully_shard(unit, mesh=mesh, reshard_after_forward=True)


def _own_storage(
    module: nn.Module, arguments: Any, outputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """An encoder's outputs, none of them a view: the backward pass of the weights begins at these tensors."""
    return tuple(output.clone() for output in outputs)


@torch.no_grad()
def gather(model: NetModule) -> None:
    """Make a sharded model whole again in every process, in place: its encoders become plain modules."""
    assert isinstance(model, ImageText)
    plain = ImageText(model.spec).to(model.device).train(model.training)

    # Every process takes all shards of each weight.
    sharded = model.state_dict(keep_vars=True)
    for name, value in plain.state_dict(keep_vars=True).items():
        value.copy_(whole(sharded[name])).requires_grad_(sharded[name].requires_grad)

    model.img_model = plain.img_model
    model.text_model = plain.text_model


def whole(value: Tensor) -> Tensor:
    """A tensor with all its shards; one that is not sharded as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def resumable(
    model: NetModule, optimiser: torch.optim.Optimizer, *, sharded: bool
) -> dict[str, Stateful]:
    """Both as parts of an `EpochLoop`, whose file does not depend on whether they were sharded."""
    if sharded:
        return {"model": WholeModel(model), "optimiser": WholeOptimiser(optimiser)}
    return {"model": model, "optimiser": optimiser}


class WholeModel:
    """The state of a sharded model as one process would save it, so that any number of processes can go on.

    The first process keeps it; the others hand on nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        """Whole tensors."""
        return _gathered(self._model.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Take this process's shard of each tensor."""
        shards = {}
        for name, own in self._model.state_dict().items():
            shards[name] = _shard_like(own, state_dict[name])
        self._model.load_state_dict(shards)


class WholeOptimiser:
    """The same for an optimiser over sharded weights."""

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self._optimiser = optimiser

    def state_dict(self) -> dict[str, Any]:
        """Whole moments."""
        return _gathered(self._optimiser.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Take this process's shard of each moment."""
        weights: list[Tensor] = []
        for group in self._optimiser.param_groups:
            weights.extend(group["params"])

        # An optimiser numbers its weights through all groups.
        shards: dict[int, dict[str, Any]] = {}
        for number, moments in state_dict["state"].items():
            shards[number] = {}
            for name, value in moments.items():
                shards[number][name] = _shard_like(weights[number], value)
        self._optimiser.load_state_dict({**state_dict, "state": shards})


def _gathered(state: Any) -> Any:
    """Whole tensors in place of shards, on the processor: in the first process alone, though all take part."""
    # Gathering is a common effort: every process must come here for every tensor.
    if isinstance(state, Tensor):
        value = whole(state)
        return value.cpu() if distributed.rank() == 0 else None

    if isinstance(state, dict):
        return {name: _gathered(value) for name, value in state.items()}

    if isinstance(state, list):
        return [_gathered(value) for value in state]

    return state


def _shard_like(own: Tensor, value: Any) -> Any:
    """This process's shard of what all have, where its own tensor is sharded and of that shape."""
    if not isinstance(own, DTensor) or not isinstance(value, Tensor) or value.shape != own.shape:
        return value
    return distribute_tensor(
        value.to(own.device), own.device_mesh, own.placements, src_data_rank=None
    )
