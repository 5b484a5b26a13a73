"""Small pieces every training loop of a method shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from itertools import count
from typing import Literal

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.image_text import ImageText
from forgetmi.model.losses import base_loss
from forgetmi.model.modes import learning
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoader


def adamw(model: nn.Module, *, lr: float, weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW over the parameters that may move; biases and norm layers are not decayed.

    Frozen parameters are left out altogether: decay and moments would move them without a gradient.
    """
    free = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in free if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in free if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)


def embeddings(out: Outputs) -> tuple[Tensor, Tensor, Tensor]:
    """Image, text and joint embedding.

    Raises:
        MethodError: The model has none (an ensemble).
    """
    if out.image_embedding is None or out.text_embedding is None or out.joint_embedding is None:
        raise MethodError(Fault("this method needs a model with image, text and joint embeddings"))
    return out.image_embedding, out.text_embedding, out.joint_embedding


def split(out: Outputs, first: int) -> tuple[Outputs, Outputs]:
    """The outputs of the first samples of a batch, and of the rest."""

    def part(at: slice) -> Outputs:
        return replace(
            out,
            **{
                f.name: value[at]
                for f in fields(out)
                if (value := getattr(out, f.name)) is not None
            },
        )

    return part(slice(0, first)), part(slice(first, None))


class Means:
    """Means of named loss terms over an epoch, weighted by samples."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._sum = torch.zeros(len(names), dtype=torch.float64)
        self._samples = 0

    def add(self, terms: Tensor, samples: int) -> None:
        """Add one batch; ``terms`` is Float[len(names)]."""
        self._sum += samples * terms.detach().double().cpu()
        self._samples += samples

    def read(self) -> dict[str, float]:
        """The means so far."""
        return dict(zip(self._names, (self._sum / max(self._samples, 1)).tolist(), strict=True))


def concatenate(*batches: Batch) -> Batch:
    """Several batches as one (one forward pass instead of several), padded to the longest text of all."""
    longest = max(batch.tokens.shape[1] for batch in batches)

    def wide(values: Tensor) -> Tensor:
        return nn.functional.pad(values, (0, longest - values.shape[1]))

    return Batch(
        image=torch.cat([batch.image for batch in batches]),
        tokens=torch.cat([wide(batch.tokens) for batch in batches]),
        mask=torch.cat([wide(batch.mask) for batch in batches]),
        **{
            name: torch.cat([getattr(batch, name) for batch in batches])
            for name in ("label", "study", "row")
        },
    )


def pieces(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Cut each batch into pieces of at most ``size`` samples, in order."""
    for batch in batches:
        for first in range(0, len(batch), size):
            yield Batch(
                **{f.name: getattr(batch, f.name)[first : first + size] for f in fields(batch)}
            )


def set_mode(student: ImageText, bn: Literal["eval", "train"]) -> None:
    """Keep the batch-norm statistics (eval; no dropout either), or learn them where the layer may move (train)."""
    if bn == "train":
        learning(student)
    else:
        student.eval()


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def training_loss(student: ImageText, batch: Batch, context: Context) -> Tensor:
    """The loss the original was trained with: cross-entropy of both heads and ranking loss, each with weight 1."""
    return base_loss(student(batch), batch, ordinal=context.ordinal).total


def minimise(
    batches: Iterable[Batch],
    objective: Callable[[Batch], Mapping[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    context: Context,
    *,
    clip: float,
) -> dict[str, float]:
    """One optimiser step for each batch, on the sum of the terms the objective returns for it.

    Args:
        batches: The samples, in order.
        objective: Weighted terms by name, scalars; the same names for every batch.
        optimiser: Over the parameters that may move.
        context: Takes the steps and counts them.
        clip: Largest gradient norm; 0 = no clipping.

    Returns:
        Mean of each term over the samples; empty without batches.
    """
    means: Means | None = None
    for batch in batches:
        terms = objective(batch)
        context.step(torch.stack(list(terms.values())).sum(), optimiser, clip=clip)
        means = means or Means(tuple(terms))
        means.add(torch.stack(list(terms.values())), len(batch))
    return {} if means is None else means.read()


def cycle(loader: GuardedLoader, first: int) -> Iterator[Batch]:
    """Batches of pass after pass over a set, without end, each pass shuffled anew.

    Args:
        loader: The set.
        first: Number of the first pass.

    Raises:
        MethodError: The set is empty.
    """
    if len(loader.rows) == 0:
        raise MethodError(Fault("a set to be cycled through is empty"))
    for number in count(first):
        yield from loader.epoch(number)
