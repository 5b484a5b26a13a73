"""Optimisers of the training: PyTorch's AdamW, and the one that early BERT trainers rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from forgetmi.core.modalities import TEXT
from forgetmi.model.net_module import NetModule, branches
from forgetmi.model.recipe import Recipe


def training_optimiser(model: NetModule, recipe: Recipe) -> Optimizer:
    """The optimiser of a recipe, over everything but what joins the embeddings, which the loss does not reach.

    Args:
        model: Its weights that ask for gradients are trained.
        recipe: Which optimiser, weight decay and learning rates. Each parameter group has a ``factor`` by which the
            recipe's learning rate is multiplied.
    """
    # The text tower and its head have a rate of their own; what joins the embeddings is in no branch.
    branch_of: dict[str, str] = {}
    for branch, names in branches(model).items():
        branch_of.update(dict.fromkeys(names, branch))

    # Weights with the same factor and decay form a group.
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or name not in branch_of:
            continue
        factor = recipe.text_lr_factor if branch_of[name] == TEXT else 1.0
        decay = recipe.weight_decay if _decays(name, parameter, recipe) else 0.0
        members.setdefault((factor, decay), []).append(parameter)

    groups = []
    for (factor, decay), parameters in members.items():
        groups.append({"params": parameters, "factor": factor, "weight_decay": decay})

    if recipe.optimiser == "bert":
        return TransformersAdamW(groups, lr=recipe.lr, correct_bias=False)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def _decays(name: str, parameter: nn.Parameter, recipe: Recipe) -> bool:
    """Whether weight decay applies to a parameter."""
    if recipe.decay_all:
        return True

    # Published trainers spare by name, and so let the scales of batch normalisation decay.
    if recipe.decay_batch_norm:
        return "bias" not in name and "LayerNorm" not in name

    return parameter.ndim != 1


class TransformersAdamW(Optimizer):
    """AdamW as the transformers library had it until version 4, which published trainers rest on.

    Its epsilon is added before the bias correction, and its decay follows the step. At the first step its epsilon acts
    31.6 times as strongly as in `torch.optim.AdamW`: gradients below 3e-5 move a parameter by less than the learning
    rate.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: Decay rates of both moments.
        eps: Epsilon.
        weight_decay: Decoupled weight decay.
        correct_bias: Whether both moments are corrected for starting at 0, as transformers does by default; the
            trainers of early BERT models do without.

    Source: transformers.optimization.AdamW (removed in version 5), its default epsilon of 1e-6.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        correct_bias: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "correct_bias": correct_bias,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("this optimiser takes no closure")

        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _move(parameter, parameter.grad, self.state[parameter], group)


def _move(
    parameter: torch.Tensor,
    gradient: torch.Tensor,
    state: dict[str, Any],
    group: dict[str, Any],
) -> None:
    """One step of one parameter, in place."""
    first, second = group["betas"]

    # Running means of the gradient and of its square.
    if not state:
        state["step"] = 0
        state["mean"] = torch.zeros_like(parameter)
        state["square"] = torch.zeros_like(parameter)
    state["step"] += 1
    state["mean"].mul_(first).add_(gradient, alpha=1 - first)
    state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)

    # Both means start at 0; the correction makes up for it.
    size = group["lr"]
    if group["correct_bias"]:
        size *= math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])

    root = state["square"].sqrt().add_(group["eps"])
    parameter.addcdiv_(state["mean"], root, value=-size)

    # Decay of what the step left.
    if group["weight_decay"] > 0:
        parameter.add_(parameter, alpha=-group["lr"] * group["weight_decay"])
