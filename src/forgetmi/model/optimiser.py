"""AdamW as the transformers library had it until version 4, which published trainers rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class TransformersAdamW(Optimizer):
    """AdamW whose epsilon is added before the bias correction, and whose decay follows the step.

    At the first step its epsilon acts 31.6 times as strongly as in `torch.optim.AdamW`: gradients below 3e-5 move a
    parameter by less than the learning rate.

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
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "correct_bias": correct_bias,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("this optimiser takes no closure")
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(
                        step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter)
                    )
                state["step"] += 1
                state["mean"].mul_(first).add_(parameter.grad, alpha=1 - first)
                state["square"].mul_(second).addcmul_(
                    parameter.grad, parameter.grad, value=1 - second
                )
                size = group["lr"]
                if group["correct_bias"]:
                    size *= math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])
                parameter.addcdiv_(
                    state["mean"], state["square"].sqrt().add_(group["eps"]), value=-size
                )
                if group["weight_decay"] > 0:
                    parameter.add_(parameter, alpha=-group["lr"] * group["weight_decay"])
