"""How much each weight matters to some patients: gradients of the cross-entropy, added up or squared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Literal

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.image_text import ImageText
from forgetmi.model.modes import evaluating
from forgetmi.unlearning.loaders import GuardedLoader
from forgetmi.unlearning.losses import classification

Each = Literal["sample", "batch"]
ENCODERS = {"image": "img_model.", "text": "text_model."}


def encoder_parameters(model: ImageText) -> dict[str, nn.Parameter]:
    """Parameters of both encoders with their heads, by name; the gate, which the cross-entropy does not reach, is out."""
    return {
        name: p for name, p in model.named_parameters() if name.startswith(tuple(ENCODERS.values()))
    }


def squared_gradients(
    model: ImageText, loader: GuardedLoader, *, each: Each
) -> tuple[dict[str, Tensor], int]:
    """Mean of the squared gradients of the cross-entropy of both heads: the diagonal of the empirical Fisher matrix.

    Args:
        model: In any mode; it is run in eval mode. Its parameters and their ``grad`` are left as they are.
        loader: The set, with labels; samples of unknown label are left out.
        each: What is squared: sample = each sample's own gradient (exact; one backward pass a sample, so that memory
            does not grow with the batch); batch = the mean gradient of each batch of one shuffled pass (one pass, but
            the values shrink as batches grow: compare only sets read in batches of one size).

    Returns:
        For each parameter of the encoders a tensor of its shape, >= 0; and the number of gradients averaged.

    Raises:
        MethodError: No sample has a label.
    """
    batches = loader.epoch(0) if each == "batch" else _singly(loader.epoch(0))
    total, count = {name: torch.zeros_like(p) for name, p in encoder_parameters(model).items()}, 0
    with evaluating(model):
        for batch in batches:
            if not bool((batch.label >= 0).any()):
                continue
            for name, gradient in _gradient(model, batch).items():
                total[name].addcmul_(gradient, gradient)
            count += 1
    if count == 0:
        raise _unlabelled()
    return {name: values / count for name, values in total.items()}, count


def summed_gradient(model: ImageText, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """Gradient of the cross-entropy of both heads, added up over the samples.

    Args:
        model: In any mode; it is run in eval mode. Its parameters and their ``grad`` are left as they are.
        batches: The samples; those of unknown label are left out.

    Returns:
        For each parameter of the encoders a tensor of its shape.

    Raises:
        MethodError: No sample has a label.
    """
    total, count = {name: torch.zeros_like(p) for name, p in encoder_parameters(model).items()}, 0
    with evaluating(model):
        for batch in batches:
            known = int((batch.label >= 0).sum())
            if known == 0:
                continue
            for name, gradient in _gradient(model, batch).items():
                total[name].add_(gradient, alpha=known)
            count += known
    if count == 0:
        raise _unlabelled()
    return total


def _gradient(model: ImageText, batch: Batch) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy of a batch; 0 where a parameter does not take part."""
    parameters = {name: p for name, p in encoder_parameters(model).items() if p.requires_grad}
    with torch.enable_grad():
        loss = classification(model(batch), batch.label)
    found = torch.autograd.grad(
        loss, list(parameters.values()), materialize_grads=True, allow_unused=True
    )
    return dict(zip(parameters, found, strict=True))


def _singly(batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        for at in range(len(batch)):
            yield Batch(**{f.name: getattr(batch, f.name)[at : at + 1] for f in fields(Batch)})


def _unlabelled() -> MethodError:
    return MethodError(
        Fault(
            "the importance of weights cannot be measured",
            why="no sample of a set has a label",
            do="Use rows with labels, or a method that reads none.",
        )
    )
