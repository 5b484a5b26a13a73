"""Pieces that the training loops of the methods share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Literal

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.inputs import Inputs, Tokens
from forgetmi.core.modalities import JOINT
from forgetmi.model.losses import base_loss
from forgetmi.model.modes import learning
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.loaders import GuardedLoader


def adamw(model: nn.Module, *, lr: float, weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW over the parameters that may move; biases and norm layers are not decayed.

    Frozen parameters are left out altogether: decay and moments would move them without a gradient.
    """
    free = [p for p in model.parameters() if p.requires_grad]
    return adamw_over(free, lr=lr, weight_decay=weight_decay)


def adamw_over(
    free: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0.01
) -> torch.optim.AdamW:
    """The same over some parameters."""
    free = list(free)

    # Only weight matrices are decayed.
    matrices = [p for p in free if p.ndim > 1]
    vectors = [p for p in free if p.ndim <= 1]

    # An empty group is left out: the optimiser's state has groups that move alone.
    groups = []
    if matrices:
        groups.append({"params": matrices, "weight_decay": weight_decay})
    if vectors:
        groups.append({"params": vectors, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def embeddings(out: Outputs) -> dict[str, Tensor]:
    """The embedding of each modality, and the joint one.

    Raises:
        MethodError: The model has none (an ensemble), or no joint one.
    """
    if JOINT not in out.embedding or len(out.embedding) < 2:
        raise MethodError(Fault("this method needs a model with embeddings and a joint one"))
    return dict(out.embedding)


def unimodal(out: Outputs) -> dict[str, Tensor]:
    """The embedding of each modality.

    Raises:
        MethodError: The model has none (an ensemble).
    """
    found = {name: values for name, values in out.embedding.items() if name != JOINT}
    if not found:
        raise MethodError(Fault("this method needs a model with embeddings"))
    return found


def side_by_side(out: Outputs) -> Tensor:
    """C in Forget-MI's paper: the embeddings of all modalities as one, Float[n, sum of their widths]."""
    return torch.cat(list(unimodal(out).values()), dim=1)


def split(out: Outputs, first: int) -> tuple[Outputs, Outputs]:
    """The outputs of the first samples of a batch, and of the rest."""
    return out.each(lambda values: values[:first]), out.each(lambda values: values[first:])


class Means:
    """Means of named loss terms over an epoch, weighted by samples.

    Args:
        names: Names of the terms, in the order in which they are added.

    Examples:
        >>> means = Means(("forget", "retain"))
        >>> means.add(torch.tensor([1.0, 0.0]), samples=1)
        >>> means.add(torch.tensor([4.0, 3.0]), samples=2)
        >>> means.read()
        {'forget': 3.0, 'retain': 2.0}
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._sum: Tensor | None = None
        self._samples = 0

    def add(self, terms: Tensor, samples: int) -> None:
        """Add one batch; ``terms`` is Float[len(names)]."""
        # In double precision, where the terms are: reading them would wait for the step.
        terms = terms.detach().double()
        if self._sum is None:
            self._sum = torch.zeros_like(terms)
        self._sum += samples * terms
        self._samples += samples

    def read(self) -> dict[str, float]:
        """The means so far."""
        if self._sum is None:
            return dict.fromkeys(self._names, 0.0)
        means = self._sum / max(self._samples, 1)
        return dict(zip(self._names, means.tolist(), strict=True))


def concatenate(*batches: Batch) -> Batch:
    """Several batches as one, for one forward pass instead of several; texts are padded to the longest."""
    inputs: dict[str, Inputs] = {}
    present: dict[str, Tensor] = {}
    for name in batches[0].inputs:
        inputs[name] = _joined([batch.inputs[name] for batch in batches])

        # Whose modality is not said to be missing has it.
        if any(name in batch.present for batch in batches):
            everyone = [torch.ones_like(batch.row, dtype=torch.bool) for batch in batches]
            there = zip(batches, everyone, strict=True)
            present[name] = torch.cat([batch.present.get(name, all_) for batch, all_ in there])

    return Batch(
        inputs=inputs,
        label=torch.cat([batch.label for batch in batches]),
        study=torch.cat([batch.study for batch in batches]),
        row=torch.cat([batch.row for batch in batches]),
        present=present,
    )


def _joined(parts: Sequence[Inputs]) -> Inputs:
    """One modality's inputs of several batches; texts are padded to the longest."""
    texts = [part for part in parts if isinstance(part, Tokens)]
    if not texts:
        return torch.cat([part for part in parts if isinstance(part, Tensor)])

    longest = max(text.ids.shape[1] for text in texts)

    def padded(values: Tensor) -> Tensor:
        return nn.functional.pad(values, (0, longest - values.shape[1]))

    ids = torch.cat([padded(text.ids) for text in texts])
    mask = torch.cat([padded(text.mask) for text in texts])
    return Tokens(ids, mask)


def pieces(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Cut each batch into pieces of at most ``size`` samples, in order."""
    for batch in batches:
        for first in range(0, len(batch), size):
            rows = slice(first, first + size)
            yield batch.select(rows)


def set_mode(student: NetModule, bn: Literal["eval", "train"]) -> None:
    """Keep the batch-norm statistics (eval; no dropout either), or learn them where the layer may move (train)."""
    if bn == "train":
        learning(student)
    else:
        student.eval()


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def training_loss(student: NetModule, batch: Batch, context: Context) -> Tensor:
    """The loss the original was trained with: cross-entropy of both heads and ranking loss, each with weight 1."""
    return base_loss(student(batch), batch, task=context.task).total


def minimise(
    batches: Iterable[Batch],
    objective: Callable[[Batch], Mapping[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    context: Context,
    *,
    clip: float,
    stop: Callable[[], bool] | None = None,
) -> dict[str, float]:
    """One optimiser step for each batch, on the sum of the terms the objective returns for it.

    Args:
        batches: The samples, in order.
        objective: Weighted terms by name, scalars; the same names for every batch.
        optimiser: Over the parameters that may move.
        context: Of the run; it takes the steps and counts them.
        clip: Largest gradient norm; 0 = no clipping.
        stop: Called after each step; True ends the pass. None = all batches.

    Returns:
        Mean of each term over the samples; empty without batches.
    """
    means: Means | None = None
    for batch in batches:
        terms = objective(batch)
        values = torch.stack(list(terms.values()))
        context.step(values.sum(), optimiser, clip=clip)

        # The first batch gives the terms' names.
        if means is None:
            means = Means(tuple(terms))
        means.add(values, len(batch))
        if stop is not None and stop():
            break
    return {} if means is None else means.read()


def cycle(loader: GuardedLoader, first: int) -> Iterator[Batch]:
    """Batches of endless passes over a set, each pass shuffled anew.

    Args:
        loader: The set.
        first: Number of the first pass.

    Raises:
        MethodError: The set is empty.
    """
    if len(loader.rows) == 0:
        raise MethodError(Fault("a set to be cycled through is empty"))
    for epoch in count(first):
        yield from loader.epoch(epoch)
