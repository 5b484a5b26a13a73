"""How much each weight matters to some patients: gradients of the loss of the labels, added up or squared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.labels import known
from forgetmi.core.task import Task
from forgetmi.model.modes import evaluating
from forgetmi.model.net_module import NetModule, branches
from forgetmi.unlearning.loaders import GuardedLoader
from forgetmi.unlearning.loop import pieces
from forgetmi.unlearning.losses import classification

# What is squared: single samples' gradients or batches'.
Each = Literal["sample", "batch"]


def encoder_parameters(model: NetModule) -> dict[str, nn.Parameter]:
    """Parameters of towers and heads, by name; not what joins the embeddings, which the loss does not reach."""
    moving: set[str] = set()
    for names in branches(model).values():
        moving.update(names)
    return {name: p for name, p in model.named_parameters() if name in moving}


def squared_gradients(
    model: NetModule, loader: GuardedLoader, *, task: Task, each: Each
) -> tuple[dict[str, Tensor], int]:
    """Mean of the squared gradients of the task's loss of all heads: the diagonal of the empirical Fisher matrix.

    Args:
        model: In any mode; it is run in eval mode. Its parameters and their ``grad`` are left as they are.
        loader: The set, with labels; samples of unknown label are left out.
        task: Of the labels.
        each: What is squared: sample = each sample's own gradient (exact; one backward pass a sample, so that memory
            does not grow with the batch); batch = the mean gradient of each batch of one shuffled pass (one pass, but
            the values shrink as batches grow: compare only sets read in batches of one size).

    Returns:
        For each parameter of the encoders a tensor of its shape, >= 0; and the number of gradients averaged.

    Raises:
        MethodError: No sample has a label.
    """
    batches = loader.epoch(0) if each == "batch" else _singly(loader.epoch(0))

    # Sums over the set, in eval mode.
    total = _zeros(model)
    count = 0

    with evaluating(model):
        for batch in batches:
            labelled = bool(known(batch.label).any())
            if not labelled:
                continue
            for name, gradient in _gradient(model, batch, task).items():
                total[name].addcmul_(gradient, gradient)
            count += 1

    if count == 0:
        raise _unlabelled()
    mean = {name: values / count for name, values in total.items()}
    return mean, count


def summed_gradient(model: NetModule, batches: Iterable[Batch], *, task: Task) -> dict[str, Tensor]:
    """Gradient of the task's loss of all heads, added up over the samples.

    Args:
        model: In any mode; it is run in eval mode. Its parameters and their ``grad`` are left as they are.
        batches: The samples; those of unknown label are left out.
        task: Of the labels.

    Returns:
        For each parameter of the encoders a tensor of its shape.

    Raises:
        MethodError: No sample has a label.
    """
    total = _zeros(model)
    count = 0

    with evaluating(model):
        for batch in batches:
            labelled = int(known(batch.label).sum())
            if labelled == 0:
                continue
            # A batch's gradient is a mean over its labelled samples.
            for name, gradient in _gradient(model, batch, task).items():
                total[name].add_(gradient, alpha=labelled)
            count += labelled

    if count == 0:
        raise _unlabelled()
    return total


def _zeros(model: NetModule) -> dict[str, Tensor]:
    """A tensor of zeros for each parameter of the encoders."""
    return {name: torch.zeros_like(p) for name, p in encoder_parameters(model).items()}


def _gradient(model: NetModule, batch: Batch, task: Task) -> dict[str, Tensor]:
    """Gradient of the mean loss of a batch; 0 where a parameter does not take part."""
    # Only parameters that ask for gradients.
    parameters = {name: p for name, p in encoder_parameters(model).items() if p.requires_grad}
    with torch.enable_grad():
        loss = classification(model(batch), batch.label, task=task, present=batch.present)

    gradients = torch.autograd.grad(
        loss, list(parameters.values()), materialize_grads=True, allow_unused=True
    )
    return dict(zip(parameters, gradients, strict=True))


def _singly(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same samples in batches of one."""
    for batch in batches:
        yield from pieces([batch], 1)


def _unlabelled() -> MethodError:
    return MethodError(
        Fault(
            "the importance of weights cannot be measured",
            why="no sample of a set has a label",
            do="Use rows with labels, or a method that reads none.",
        )
    )
