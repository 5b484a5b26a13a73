"""Blocks of adapters, the top layers first: a model with the first few of them, and what one block holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from forgetmi.core.carrier import Carrier
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import TOWER
from forgetmi.core.seeding import derive
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.adapter_files import base_digest
from forgetmi.unlearning.adapters import adapted_layers, factors
from forgetmi.unlearning.carrier import carry, moving, put_back

# Both factors of a block's adapters, and the heads and projections as its training left them
Block = Mapping[str, Tensor]


def layers_of_blocks(net: NetModule, carrier: Carrier, blocks: int) -> tuple[tuple[str, ...], ...]:
    """Names of the layers of each block: each tower is cut into as many parts, from its output to its input.

    Args:
        net: The model, without adapters.
        carrier: Of kind lora.
        blocks: How many, >= 1.

    Raises:
        MethodError: No tower has as many layers, or there is none to adapt.
    """
    free = adapted_layers(net, carrier, but=moving(net, carrier))
    found: list[list[str]] = [[] for _ in range(blocks)]
    deepest = 0
    for modality in net.modalities:
        # Of one tower, in the order of its stages where it names some
        own = set(net.parts()[f"{TOWER}{modality}"].names)
        names = [name for name in free if f"{name}.weight" in own]
        names.sort(key=partial(_stage, stages=net.stages(modality)))
        deepest = max(deepest, len(names))

        # The parts nearest the output come first; a shallow tower has none in the last blocks
        names.reverse()
        for block, part in enumerate(np.array_split(np.arange(len(names)), blocks)):
            found[block] += [names[number] for number in part]

    if deepest < blocks:
        raise MethodError(
            Fault(
                f"the model has layers for {deepest} blocks of adapters, and {blocks} were asked for",
                where="slices",
                do="Use fewer slices, or freeze fewer stages.",
            )
        )
    return tuple(map(tuple, found))


def _stage(layer: str, stages: Sequence[str]) -> int:
    """Number of the stage that a layer belongs to; 0 where none is named."""
    for number, stage in enumerate(stages):
        if f"{layer}.".startswith(f"{stage}."):
            return number
    return 0


def with_blocks(
    fresh: NetModule,
    carrier: Carrier,
    layers: Sequence[Sequence[str]],
    blocks: Sequence[Block],
    *,
    seed: int,
) -> NetModule:
    """A copy of a new model with blocks of adapters on it, the last one new where there are more layers than blocks.

    Only the adapters of the last of `layers`, heads and projections ask for gradients.

    Args:
        fresh: A new model with public weights; unchanged.
        carrier: Rank and alpha.
        layers: Of each block that is to stand on it, one at least.
        blocks: Those trained already: as many, or one fewer.
        seed: Root seed of new adapters.
    """
    targets = tuple(name for block in layers for name in block)
    own = Carrier("lora", rank=carrier.rank, alpha=carrier.alpha, targets=targets)
    model = carry(fresh, own, seed=derive(seed, "unlearn", "adapters"))

    # Each block brings heads and projections, so that those of the last one count
    for block in blocks:
        model.load_state_dict(dict(block), strict=False)

    below = {name for block in layers[:-1] for name in block}
    for name, weight in model.named_parameters():
        if name.partition(".lora_")[0] in below:
            weight.requires_grad_(False)
    return model


def block_of(model: NetModule, carrier: Carrier, layers: Sequence[str]) -> Block:
    """What a training made of one block: its adapters, heads and projections.

    Args:
        model: Made by `with_blocks`.
        carrier: Rank and alpha.
        layers: Of the block.
    """
    mine = {name for name in factors(model) if name.partition(".lora_")[0] in layers}
    mine |= moving(model, carrier)
    state = model.state_dict()
    return {name: state[name].detach().cpu().clone() for name in sorted(mine)}


def merged(
    fresh: NetModule,
    carrier: Carrier,
    layers: Sequence[Sequence[str]],
    blocks: Sequence[Block],
) -> NetModule:
    """A new model with some blocks of adapters merged into its weights; all others are as if never made.

    Args:
        fresh: With the public weights that the blocks were trained on; unchanged.
        carrier: Rank and alpha.
        layers: Of each block, of at least as many as are given.
        blocks: The first ones, at least one.
    """
    model = with_blocks(fresh, carrier, layers[: len(blocks)], blocks, seed=0)
    return put_back(model, like=fresh)


def base_of(fresh: NetModule, carrier: Carrier) -> str:
    """Digest of the weights that all blocks stand on."""
    return base_digest(fresh, moving(fresh, carrier))
