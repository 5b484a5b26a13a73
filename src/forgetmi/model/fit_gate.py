"""Fitting the adaptation gate on the original's cached embeddings."""

from __future__ import annotations

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Epochs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.labels import known
from forgetmi.core.seeding import torch_generator
from forgetmi.core.task import Task
from forgetmi.model.composed import Composed
from forgetmi.model.image_text import ImageText
from forgetmi.model.modes import evaluating
from forgetmi.model.step_values import StepValues


def fit_gate(
    model: ImageText | Composed,
    loader: Epochs,
    *,
    task: Task,
    seed: int,
    steps: int = 300,
    lr: float = 1e-3,
) -> None:
    """Fit the gate, in place, so that a throw-away class head can read the label from the joint embedding.

    The gate starts from its initial weights, and keeps them where the labels are pairs, which nothing predicts. The
    encoders and heads do not change. Their embeddings are computed once, in eval mode. After unlearning, fit it again
    on retained patients so that nothing fitted on the forgotten is kept.

    Args:
        model: The trained model.
        loader: Rows to fit on; those without a label are left out.
        task: Of the labels.
        seed: Root seed.
        steps: Steps of Adam, >= 0.
        lr: Learning rate of Adam.

    Raises:
        MethodError: No row has a label, or the fit diverges.
    """
    # A mean has nothing to fit.
    if not model.joining:
        return

    # Without labels there is nothing to read from the joint embedding: the gate is that of a fresh model.
    if not task.headed:
        model.start_afresh(seed=seed, names=model.joining)
        return

    # Encoders and heads do not change, so their embeddings are computed once.
    label, image, text = _embeddings(model, loader)
    if len(label) == 0:
        raise MethodError(
            Fault("the gate cannot be fitted", why="no row has a label", do="Use rows with labels.")
        )

    # A copy of the gate as a fresh model has it, and a class head that is thrown away.
    model.start_afresh(seed=seed, names=model.joining)
    gate = copy.deepcopy(model.gate).requires_grad_(True)
    classes, width = model.spec.classes, image.shape[1]
    weight = torch.zeros(classes, width, device=model.device, requires_grad=True)
    bias = torch.zeros(classes, device=model.device, requires_grad=True)

    # Both learn the label from random batches of 256 rows.
    optimiser = torch.optim.Adam([*gate.parameters(), weight, bias], lr=lr)
    generator = torch_generator(seed, "gate", "rows")
    watch = StepValues(partial(_told, lr=lr))
    for step in range(steps):
        rows = torch.randperm(len(label), generator=generator)[:256].to(label.device)
        logits = nn.functional.linear(gate(image[rows], text[rows]), weight, bias)
        loss = task.mean_loss(logits, label[rows])
        watch.add(step, loss.detach().reshape(1))

        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    watch.read()
    model.gate.load_state_dict(gate.state_dict())


def _told(step: int, values: list[float], *, lr: float) -> None:
    """Stop at a loss that is not finite."""
    (loss,) = values
    if not math.isfinite(loss):
        raise MethodError(
            Fault(f"the gate's loss became {loss} at step {step}", why=f"learning rate {lr}")
        )


@torch.no_grad()
def _embeddings(model: ImageText | Composed, loader: Epochs) -> tuple[Tensor, Tensor, Tensor]:
    """Label and the embeddings of both modalities, image before text, of every row with a label."""
    first, second = model.modalities
    labels, images, texts = [], [], []
    with evaluating(model):
        for batch in loader.epoch(0):
            batch = batch.to(model.device)
            outputs = model(batch)
            labels.append(batch.label)
            images.append(outputs.embedding[first])
            texts.append(outputs.embedding[second])

    # Chosen at the end: which have a label is known only when it is read from the device.
    label = torch.cat(labels)
    labelled = known(label)
    return label[labelled], torch.cat(images)[labelled], torch.cat(texts)[labelled]
