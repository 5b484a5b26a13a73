"""Initial weights keyed by (seed, parameter name): any layer can be re-initialised alone, equal to a fresh model's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.seeding import torch_generator
from forgetmi.core.suggest import did_you_mean
from forgetmi.model.pretrained import pretrained_weights

_BERT = "text_model.bert."

# Modules with BERT's own initialisation, and its standard deviation.
_NORMAL = (_BERT, "text_model.classifier")
_STD = 0.02


def keyed_normal(parameter: Tensor, *, std: float, seed: int, name: str) -> None:
    """Fill with N(0, std^2) drawn from the stream of that name, the same on every device."""
    # Drawn on the processor, whatever device the parameter is on.
    generator = torch_generator(seed, "init", name)
    drawn = torch.empty(parameter.shape).normal_(0.0, std, generator=generator)
    parameter.copy_(drawn)


def keyed_uniform(parameter: Tensor, *, bound: float, seed: int, name: str) -> None:
    """Fill with U(-bound, bound) drawn from the stream of that name, the same on every device."""
    generator = torch_generator(seed, "init", name)
    drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
    parameter.copy_(drawn)


@torch.no_grad()
def initialise(model: Any, *, seed: int, names: Iterable[str] | None = None) -> None:
    """Give modules the initial weights and buffers that a fresh model of that seed has, in place.

    Convolutions: normal, variance 2 / fan out (He et al. 2015). Norm layers: scale 1, shift 0, running statistics 0
    and 1. BERT and the text head: normal with standard deviation 0.02, padding row and biases 0; pretrained weights
    where the specification names them. Other linear layers: uniform in +-1/sqrt(fan in), PyTorch's own default.

    Args:
        model: An `ImageText`, changed in place.
        seed: Root seed.
        names: Names of modules (``img_model.layer4``, ``text_model.classifier``, ...), each with all below it;
            None = the whole model.

    Raises:
        SpecError: A name is unknown, or the pretrained weights cannot be read.
    """
    modules = dict(model.named_modules())
    chosen = _chosen(modules, names)

    for name in chosen:
        _reset(modules[name], name, seed)

    if model.spec.text.pretrained:
        _copy_pretrained(model, chosen)


def _chosen(modules: Mapping[str, nn.Module], names: Iterable[str] | None) -> list[str]:
    """The modules of those names with all below them, by depth."""
    if names is None:
        return list(modules)

    roots = tuple(names)
    faults = []
    for name in roots:
        if name not in modules:
            faults.append(
                Fault(f"the model has no module {name!r}", do=did_you_mean(name, modules))
            )
    if faults:
        raise SpecError(faults)

    # A name stands for everything below it, too.
    below = tuple(f"{root}." for root in roots)
    return [name for name in modules if name in roots or name.startswith(below)]


def _copy_pretrained(model: Any, chosen: Iterable[str]) -> None:
    """Pretrained weights in place of the random ones, in those of the chosen modules that are BERT's."""
    below = tuple(f"{name}." for name in chosen if f"{name}.".startswith(_BERT))
    if not below:
        return

    # What the pretrained encoder lacks, its pooler at most, keeps its random weights.
    weights = model.state_dict(keep_vars=True)
    for name, value in pretrained_weights(model.spec.text).items():
        name = f"{_BERT}{name}"
        if name.startswith(below):
            weights[name].copy_(value)


def _reset(module: nn.Module, name: str, seed: int) -> None:
    """The initialiser of one module's own parameters and buffers."""
    match module:
        case nn.Conv2d():
            fan_out = module.out_channels * math.prod(module.kernel_size)
            std = math.sqrt(2 / fan_out)
            keyed_normal(module.weight, std=std, seed=seed, name=f"{name}.weight")

        case nn.BatchNorm2d() | nn.LayerNorm():
            module.reset_parameters()

        case nn.Embedding():
            keyed_normal(module.weight, std=_STD, seed=seed, name=f"{name}.weight")
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()

        case nn.Linear() if name.startswith(_NORMAL):
            keyed_normal(module.weight, std=_STD, seed=seed, name=f"{name}.weight")
            module.bias.zero_()

        case nn.Linear():
            bound = 1 / math.sqrt(module.in_features)
            keyed_uniform(module.weight, bound=bound, seed=seed, name=f"{name}.weight")
            keyed_uniform(module.bias, bound=bound, seed=seed, name=f"{name}.bias")

        # A kind of layer nobody thought of must not keep weights that depend on no seed.
        case _ if next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"no initialiser for {type(module).__name__} ({name})")

        # Containers have no weights of their own.
        case _:
            pass
