"""CT: transpose the convolution kernels, then fine-tune until the model has learned to use them again."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.methods.msg import counted, layers
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_lr, set_mode, training_loss


@dataclass(frozen=True)
class CT:
    """Convolution transpose: swap height and width of every kernel and train on the retained patients.

    Use it where the forgotten may not be read any more and a training of a few epochs is affordable. What the text
    encoder remembers is touched in its last layers alone.

    Args:
        text_k: Linear layers of the text encoder, from the output on, among which square weight matrices are
            transposed, too, >= 0; 8 = the head, the pooler and the last transformer layer; 0 = none.
        epochs: Passes over the retain set, >= 0; at 0 nothing is transposed, either.
        lr: Learning rate of AdamW at the start, > 0; it falls to 0 along a cosine over the epochs.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: train (learned again from the retained, since the weights before them change) or eval
            (kept).

    Source: an entry to the NeurIPS 2023 machine unlearning challenge in the form of Cadet et al. 2024 (arXiv
    2410.01276), repository deepunlearn (``kgltop5.py``: 3 epochs of SGD, rate 1e-3, momentum 0.9, decay 5e-4, batches
    of 64, convolutions only). Deviations: the square matrices at the top of the text encoder, which has no
    convolutions; AdamW with clipping; 5 epochs, as tuned (docs/tuning.md); the training loss in place of cross-entropy.

    Examples:
        >>> method = CT(text_k=4)
        >>> method.text_k, method.info.exact
        (4, False)
        >>> sorted(method.info.reads)
        ['labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="CT",
        paper="Cadet et al., 2024, arXiv 2410.01276",
        summary="Every image filter is flipped, and the model is trained on everyone else's data until it works again.",
        reads=frozenset({"retain", "labels"}),
        exact=False,
        cost="1",
        suits="withdrawals where the forgotten patients' data may not be read any more",
        own_epochs=True,
        search={"lr": (3e-4, 1e-3, 3e-3), "epochs": (3, 5, 10), "text_k": (4, 8)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"convolutions", "stages"})
    moves: ClassVar[Moves] = "own layers"

    text_k: int = 8
    epochs: Epochs = 5
    lr: LearningRate = 1e-3
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["train", "eval"] = "train"

    def __post_init__(self) -> None:
        if self.text_k < 0:
            raise MethodError(
                Fault("text_k must be at least 0", where="ct", why=f"got {self.text_k}")
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)

        # Flip the filters.
        context.facts["layers transposed"] = transpose(student, text_k=self.text_k)

        # Train until the model works again.
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)
        lessons = loaders.retain.for_training(loaders.batch_size)

        def objective(batch: Batch) -> dict[str, Tensor]:
            return {"retain": training_loss(student, batch, context)}

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            # From the full rate to 0 along a cosine.
            rate = self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
            set_lr(optimiser, rate)
            set_mode(student, self.bn)

            batches = counted(loaders.retain, lessons.epoch(epoch))
            means = minimise(batches, objective, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)
        return student


@torch.no_grad()
def transpose(model: NetModule, *, text_k: int) -> int:
    """Swap height and width of every square kernel, rows and columns of the text layers' square matrices, in place.

    Done twice, it is the identity.

    Args:
        model: The model.
        text_k: Linear layers of the text encoder, from the output on, that are read, >= 0.

    Returns:
        Number of layers that were changed.
    """
    changed = 0
    for name in layers(model, text_k=text_k):
        weight = model.get_submodule(name).weight
        if not isinstance(weight, nn.Parameter):
            continue

        # Square in its last two dimensions, and more than a single value.
        height, width = weight.shape[-2:]
        if height == width > 1:
            weight.copy_(weight.transpose(-1, -2).clone())
            changed += 1
    return changed
