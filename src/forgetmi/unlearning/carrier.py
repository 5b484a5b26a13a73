"""Which tensors of a model a method or a training may move, and how all others are held still."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from forgetmi.core.carrier import Carrier
from forgetmi.core.net import HEAD, JOIN, REST, TOWER, Part
from forgetmi.model.composed import PROJECTIONS, Composed
from forgetmi.model.image_text import PROJECTION, ImageText
from forgetmi.model.net_module import NetModule, net_modules
from forgetmi.unlearning.adapters import add_adapters, merge_adapters


def moving(net: NetModule, carrier: Carrier) -> frozenset[str]:
    """Names of the tensors that a carrier moves whole; adapters come beside them, what joins the embeddings is in none.

    Args:
        net: The model, without adapters.
        carrier: Which.
    """
    parts = net.parts()
    if carrier.kind == "full":
        names = [name for part, content in parts.items() if part != JOIN for name in content.names]
        return frozenset(names)

    # The heads, and the projections on frozen public towers
    found: set[str] = set()
    for part, content in parts.items():
        if part.startswith(HEAD) or (part == REST and isinstance(net, Composed)):
            found.update(content.names)

    # All projections go with the last stages and with adapters, since they may be new, too
    if carrier.kind in ("last", "lora"):
        found |= {name for name in net.state_dict() if is_projection(net, name)}
    if carrier.kind == "last":
        for stage in last_stages(net, carrier.stages):
            found.update(f"{stage}.{name}" for name in net.get_submodule(stage).state_dict())
    return frozenset(found)


def last_stages(net: NetModule, count: int) -> tuple[str, ...]:
    """The last stages of each tower; those without weights, projections and heads do not count.

    Args:
        net: The model.
        count: Of each tower, >= 1.
    """
    heads = set(net.heads.values())
    found: list[str] = []
    for modality in net.modalities:
        inner: list[str] = []
        for stage in net.stages(modality):
            module = net.get_submodule(stage)
            has_weights = next(module.parameters(), None) is not None
            if has_weights and module not in heads and not is_projection(net, f"{stage}."):
                inner.append(stage)
        found += inner[-count:]
    return tuple(found)


def is_projection(net: NetModule, tensor: str) -> bool:
    """Whether a tensor belongs to what brings a tower's embedding to the common width."""
    if isinstance(net, Composed):
        return tensor.startswith(f"{PROJECTIONS}.")
    return isinstance(net, ImageText) and tensor.startswith(f"{PROJECTION}.")


def carry(model: NetModule, carrier: Carrier, *, seed: int) -> NetModule:
    """A copy of a model in which nothing but a carrier asks for gradients; it computes what the model computes.

    What does not ask for gradients yet still does not. Frozen layers use their batch statistics and, but beside
    adapters, draw no dropout.

    Args:
        model: Unchanged.
        carrier: Not full.
        seed: Of the adapters' first weights.

    Raises:
        MethodError: There is nothing that adapters can be added to.
    """
    carried = copy.deepcopy(model)
    whole = moving(carried, carrier)
    joining = carried.parts().get(JOIN, Part(())).names
    free = {name for name, weight in carried.named_parameters() if weight.requires_grad}

    # Adapters freeze all else, so that they come first
    if carrier.kind == "lora":
        add_adapters(carried, carrier, but=whole, seed=seed)
    for name, weight in carried.named_parameters():
        if name in whole or name in joining:
            weight.requires_grad_(name in free)
        elif carrier.kind != "lora":
            weight.requires_grad_(False)

    for net in net_modules(carried):
        net.execution = replace(
            net.execution, still="norms" if carrier.kind == "lora" else "layers"
        )
    return carried


def afresh(start: NetModule, fresh: NetModule, carrier: Carrier, *, seed: int) -> NetModule:
    """A model that is new in what a carrier moves, and as it was in all else.

    Args:
        start: What `carry` made of the original.
        fresh: A new model of the same architecture.
        carrier: Not full. With adapters all is new: they are added to the new model, whose towers have public weights.
        seed: Of the adapters' first weights.
    """
    if carrier.kind == "lora":
        return carry(fresh, carrier, seed=seed)

    student = copy.deepcopy(start)
    values = fresh.state_dict()
    own = student.state_dict()
    with torch.no_grad():
        for name in moving(fresh, carrier):
            own[name].copy_(values[name])
    return student


def put_back(carried: NetModule, like: nn.Module) -> NetModule:
    """Merge the adapters and let weights ask for gradients as those of another model do, in place.

    Args:
        carried: Made by `carry` or `afresh`, or a copy of such a model.
        like: Of the same architecture.
    """
    merge_adapters(carried)
    for weight, other in zip(carried.parameters(), like.parameters(), strict=True):
        weight.requires_grad_(other.requires_grad)
    for net in net_modules(carried):
        net.execution = replace(net.execution, still="")
    return carried


def strayed(before: Mapping[str, Tensor], result: NetModule, carrier: Carrier) -> tuple[str, ...]:
    """Names of tensors outside a carrier that are not what they were; adapters not merged yet.

    Args:
        before: The tensors of the model that the method began with, with its adapters.
        result: What it made.
        carrier: Not full.
    """
    whole = moving(result, carrier)
    joining = result.parts().get(JOIN, Part(())).names
    found: list[str] = []
    for name, value in result.state_dict().items():
        adapter = ".lora_A." in name or ".lora_B." in name
        if name in whole or name in joining or adapter:
            continue
        if name not in before or not torch.equal(value, before[name]):
            found.append(name)
    return tuple(found)


def untouched(net: NetModule, carrier: Carrier) -> tuple[str, ...]:
    """Towers that a training within a carrier moves nothing of, and that saw no patient before it: "tower:image".

    Those of a model of the user's own are not among them, since nobody says what their weights saw before.

    Args:
        net: The model, without adapters.
        carrier: Which.
    """
    if carrier.kind in ("full", "lora") or not isinstance(net, Composed | ImageText):
        return ()
    whole = moving(net, carrier) | {f"{TOWER}{modality}" for modality in saw_before(net)}
    towers = {part: content for part, content in net.parts().items() if part.startswith(TOWER)}
    return tuple(part for part, content in towers.items() if not whole & {part, *content.names})


def saw_before(model: nn.Module) -> tuple[str, ...]:
    """Modalities whose tower begins with public weights that saw patients of the cohort, as its specification says.

    Args:
        model: Any.
    """
    found: dict[str, None] = {}
    for net in net_modules(model):
        if isinstance(net, Composed):
            for modality, tower in net.spec.towers:
                if tower.saw_patients:
                    found[modality] = None
    return tuple(found)
