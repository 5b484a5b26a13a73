"""Low-rank adapters (LoRA) on the linear and convolution layers of a model's towers, by the PEFT library."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from forgetmi.core.carrier import Carrier
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import HEAD, JOIN
from forgetmi.core.seeding import scope
from forgetmi.core.suggest import did_you_mean
from forgetmi.model.net_module import NetModule
from forgetmi.model.towers.same_conv import SameConv

# Layers that get adapters
ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d)

# Modules that read the weights of their layers instead of calling them, which would pass an adapter by
_READS_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def adapted_layers(
    net: NetModule, carrier: Carrier, *, but: Collection[str] = ()
) -> tuple[str, ...]:
    """Names of the layers that a carrier gives adapters to, in the model's own order.

    All linear and convolution layers of the towers' stages that may move: not heads, projections, what joins the
    embeddings, convolutions in groups or dilated ones, nor layers whose weights are read otherwise than by a call.

    Args:
        net: The model, without adapters.
        carrier: Which targets; none = all.
        but: Tensors that move whole.

    Raises:
        MethodError: There is no such layer, or a target names none.
    """
    left_out = set(but)
    for part, content in net.parts().items():
        if part.startswith(HEAD) or part == JOIN:
            left_out.update(content.names)

    # Layers that can be adapted
    passed_by = {id(inner) for module in net.modules() for inner in _passed_by(module)}
    stages = [net.stages(modality) for modality in net.modalities]
    names: list[str] = []
    for name, module in net.named_modules():
        usable = f"{name}.weight" not in left_out and id(module) not in passed_by
        if usable and _in_stages(stages, name) and _adaptable(module):
            names.append(name)
    if not names:
        raise MethodError(
            Fault(
                "there is nothing that adapters can be added to",
                where="carrier",
                why="the towers have no linear or convolution layer that may move",
                do="Choose the carrier heads, or freeze fewer stages.",
            )
        )
    return tuple(names) if not carrier.targets else _named(tuple(names), carrier.targets)


def _in_stages(stages: Sequence[Sequence[str]], name: str) -> bool:
    """Whether a layer belongs to a stage of a tower; where a tower names none, every layer may be its own."""
    if not all(stages):
        return True
    return any(f"{name}.".startswith(f"{stage}.") for names in stages for stage in names)


def _passed_by(module: nn.Module) -> Iterator[nn.Module]:
    """Layers inside a module that reads their weights itself."""
    if isinstance(module, _READS_WEIGHTS):
        yield from module.modules()


def _adaptable(module: nn.Module) -> bool:
    """Whether a layer computes what PEFT takes it to compute, and its weight may move."""
    if not isinstance(module, ADAPTABLE) or not module.weight.requires_grad:
        return False

    # A subclass with a forward pass of its own, and weights made of others, are something else
    base = next(kind for kind in ADAPTABLE if isinstance(module, kind))
    kind: Any = type(module)
    usual = kind.forward in (base.forward, SameConv.forward)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        plain = (
            module.groups == 1 and module.padding_mode == "zeros" and set(module.dilation) == {1}
        )
        usual = usual and plain and kind._conv_forward is base._conv_forward  # type: ignore[attr-defined]
    made = parametrize.is_parametrized(module) or bool(module._forward_pre_hooks)
    return usual and not made


def _named(names: tuple[str, ...], targets: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some layers that targets name, whole or by their ends."""
    faults: list[Fault] = []
    found: set[str] = set()
    for target in targets:
        fitting = [name for name in names if f".{name}".endswith(f".{target}")]
        if not fitting:
            ends = [name.rpartition(".")[2] for name in names]
            do = did_you_mean(target, dict.fromkeys(ends))
            what = f"no layer that can be adapted is called {target!r}"
            faults.append(Fault(what, where="carrier: targets", do=do))
        found.update(fitting)
    if faults:
        raise MethodError(faults)
    return tuple(name for name in names if name in found)


def check_peft() -> None:
    """Refuse adapters where the PEFT library is not installed.

    Raises:
        MethodError: It is not.
    """
    if find_spec("peft") is None:
        raise MethodError(
            Fault("adapters need the package peft", "carrier", do="pip install 'forgetmi[lora]'")
        )


def add_adapters(net: NetModule, carrier: Carrier, *, but: Collection[str], seed: int) -> None:
    """Add adapters that change nothing yet, in place; all else asks for no gradients.

    Args:
        net: The model.
        carrier: Rank, alpha and targets.
        but: Tensors that move whole.
        seed: Of their first factors; the second ones are 0.

    Raises:
        MethodError: PEFT is not installed, or there is no layer to adapt.

    Source: Hu et al. 2022 (arXiv 2106.09685), as the PEFT library has it. Deviations: none; no dropout and no bias.
    """
    check_peft()
    from peft import LoraConfig, inject_adapter_in_model

    # Exactly these layers: a list of names would fit the ends of others, too
    layers = adapted_layers(net, carrier, but=but)
    pattern = "|".join(map(re.escape, layers))
    config = LoraConfig(r=carrier.rank, lora_alpha=carrier.alpha, target_modules=pattern)  # type: ignore[arg-type]
    training = {name: module.training for name, module in net.named_modules()}
    with scope(seed, "adapters"):
        inject_adapter_in_model(config, net)
    del net.peft_config

    # New modules take the mode of the layer that they stand on
    for name, module in net.named_modules():
        module.training = training.get(name, module.training)
    for name in layers:
        net.get_submodule(name).train(training[name])


def adapters(net: nn.Module) -> dict[str, Any]:
    """The adapted layers of a model, by name."""
    if find_spec("peft") is None:
        return {}
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {
        name: module for name, module in net.named_modules() if isinstance(module, BaseTunerLayer)
    }


def factors(net: nn.Module) -> dict[str, Tensor]:
    """Both factors of each adapter, by the name that they have in the model."""
    state = net.state_dict()
    return {name: state[name] for name in state if ".lora_A." in name or ".lora_B." in name}


def merge_adapters(net: nn.Module) -> None:
    """Add each adapter's product to the weight that it stands on, and take the adapters away, in place."""
    for name, layer in adapters(net).items():
        layer.merge()
        net.set_submodule(name, layer.get_base_layer())
