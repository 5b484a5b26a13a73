"""How a model is trained: plain values, which need no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from forgetmi.core.carrier import read_carrier
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.ranges import AtMost, Epochs
from forgetmi.core.serialization import LATER


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; the defaults suit the compact model.

    The learning rate rises over ``warmup``, stays, and falls linearly to 0 over ``decay``; warm-up followed by decay
    over all the rest is ``decay = 1 - warmup``. The published trainers' recipes are in `forgetmi.authors_code.recipes`.

    Args:
        epochs: Passes over the training rows, >= 0.
        batch_size: Samples a step, for whoever makes the loader, >= 2.
        lr: Peak learning rate of AdamW, > 0.
        weight_decay: Decoupled weight decay, >= 0.
        decay_all: Whether biases and norm layers decay, too.
        decay_batch_norm: Whether the scales of batch normalisation decay where not all does, as in published trainers.
        optimiser: adamw (PyTorch's) or bert (that of early BERT trainers: epsilon 1e-6, no bias correction).
        clip: Largest gradient norm; 0 = no clipping.
        warmup: Share of the steps with rising learning rate, 0 to 1.
        decay: Share of the steps with falling learning rate, 0 to 1; at most 1 together with warmup.
        zero_start: Whether the first step of the warm-up has learning rate 0, as in published trainers.
        plateau: Epochs without a lower training loss after which the learning rate is divided by 10; 0 = never.
        shift: Standard deviation of the draw along each side by half of which a training image moves, pixels;
            0 = none.
        ranking_weight: Weight of the ranking loss beside the two cross-entropies, >= 0.
        text_lr_factor: Learning rate of the text encoder as a multiple of lr, > 0.
        accumulation: Batches whose gradients are averaged before a step, >= 1.
        validate_every: Epochs from one validation to the next; 0 = one, at the end. It only informs: the last epoch is
            the result.
        recompute: Compute the encoders' activations again in the backward pass instead of keeping them: less memory,
            more time. The image encoder keeps them while it learns batch statistics.
        bf16: Run the forward pass in bfloat16 where that is safe (autocast); weights stay in float32.
        carrier: What a training moves: full, heads, last,stages=1, or lora,rank=8,alpha=16 with public towers; see
            docs/carrier.md.
    """

    epochs: Epochs = 16
    batch_size: Annotated[int, AtMost(1_000_000)] = 16
    lr: float = 1e-3
    weight_decay: float = 0.01
    decay_all: bool = True
    decay_batch_norm: bool = False
    optimiser: Literal["adamw", "bert"] = "adamw"
    clip: float = 5.0
    warmup: float = 0.05
    decay: float = 0.35
    zero_start: bool = False
    plateau: int = 0
    shift: float = 0.0
    ranking_weight: float = 1.0
    text_lr_factor: float = 1.0
    accumulation: Annotated[int, AtMost(1_000_000)] = 1
    validate_every: int = 0
    recompute: bool = False
    bf16: bool = False
    carrier: str = field(default="full", metadata=LATER)

    def __post_init__(self) -> None:
        # Each rule, and whether it holds.
        rules = {
            "epochs must be at least 0": self.epochs >= 0,
            "batch_size must be at least 2": self.batch_size >= 2,
            "lr must be above 0": self.lr > 0,
            "weight_decay must be at least 0": self.weight_decay >= 0,
            "clip must be at least 0": self.clip >= 0,
            "warmup must be in [0, 1]": 0 <= self.warmup <= 1,
            "decay must be in [0, 1]": 0 <= self.decay <= 1,
            "warmup and decay together must be at most 1": self.warmup + self.decay <= 1 + 1e-9,
            "ranking_weight must be at least 0": self.ranking_weight >= 0,
            "text_lr_factor must be above 0": self.text_lr_factor > 0,
            "accumulation must be at least 1": self.accumulation >= 1,
            "validate_every must be at least 0": self.validate_every >= 0,
            "plateau must be at least 0": self.plateau >= 0,
            "shift must be at least 0": self.shift >= 0,
            "optimiser must be adamw or bert": self.optimiser in ("adamw", "bert"),
        }

        # All faults are reported at once.
        faults = []
        for rule, holds in rules.items():
            if not holds:
                faults.append(Fault(rule, where="training recipe"))
        try:
            read_carrier(self.carrier)
        except SpecError as error:
            faults.extend(error.faults)

        if faults:
            raise SpecError(faults)

    def validates(self, epoch: int) -> bool:
        """Whether the model is validated after an epoch, counted from 0."""
        # The last epoch always, others where they are due.
        done = epoch + 1
        if done == self.epochs:
            return True
        return self.validate_every > 0 and done % self.validate_every == 0

    def lr_factor(self, step: int, total: int) -> float:
        """Learning rate of a step as a share of the peak.

        Args:
            step: Number of the step, from 0.
            total: Total number of steps.
        """
        # Warm-up: the first step has rate 0, or already one step's share of the peak.
        from_zero = self.zero_start and self.warmup > 0
        climbed = step if from_zero else step + 1
        rising = climbed / max(1.0, self.warmup * total)

        # Linear decay, which reaches 0 after the last step.
        falling = (total - step) / max(1.0, self.decay * total)

        return min(1.0, rising, falling)
