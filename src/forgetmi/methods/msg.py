"""MSG: start afresh the weights whose gradient tells forgotten and retained least apart, then fine-tune."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule, convolutions, free_but_joining, is_image
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.importance import summed_gradient
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.last_layers import last_layers
from forgetmi.unlearning.loaders import GuardedLoader, GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_lr, set_mode, training_loss
from forgetmi.unlearning.masks import largest, masked


@dataclass(frozen=True)
class MSG:
    """Masked small gradients: re-initialise part of each layer's weights, then train, the kept ones more slowly.

    In every convolution, and in the last layers of the text encoder, the weights with the smallest gradient of
    (cross-entropy on as many retained samples - cross-entropy on the forgotten) start afresh. Use it where a short
    training on the retained is affordable and the model may lose a little.

    Args:
        image_share: Share of each convolution's weights that starts afresh, 0 to 1.
        text_share: The same for the text layers, 0 to 1; large shares ruin a pretrained encoder.
        text_k: Linear layers of the text encoder, from the output on, that are changed, >= 0; 8 = the head, the pooler
            and the last transformer layer.
        kept: Factor on the steps of the kept weights of these layers, 0 to 1.
        epochs: Passes over the retain set, >= 0; at 0 nothing starts afresh, either.
        lr: Peak learning rate of AdamW, > 0; it rises over the first half of the epochs and falls over the second.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: train (learned again from the retained, since the weights before them change) or eval
            (kept).

    Source: an entry to the NeurIPS 2023 machine unlearning challenge in the form of Cadet et al. 2024 (arXiv
    2410.01276), repository deepunlearn (``kgltop2.py``: 30 %, factor 0.1, 5 epochs of SGD, rate 1e-3, momentum 0.9,
    decay 5e-4, batches of 64, convolutions only). Deviations: the top of the text encoder; the gradient in eval mode,
    summed over samples; each layer's own initialiser; AdamW, which divides a factor on the gradient out, so that the
    factor is on the step; the training loss in place of cross-entropy.

    Examples:
        >>> method = MSG(image_share=0.1)
        >>> method.image_share, method.info.exact
        (0.1, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="MSG",
        paper="Cadet et al., 2024, arXiv 2410.01276",
        summary="Some weights of each layer start afresh and the model is trained further on everyone else's data.",
        reads=frozenset({"forget", "retain", "labels"}),
        exact=False,
        cost="1, and 2 x |forget| / |retain| once",
        suits="comparisons; a strong method where a short training is affordable",
        own_epochs=True,
        search={"lr": (3e-4, 1e-3, 3e-3), "epochs": (3, 5, 10), "image_share": (0.1, 0.3, 0.5)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"convolutions", "stages", "fresh", "predictions"})
    moves: ClassVar[Moves] = "own layers"

    image_share: float = 0.3
    text_share: float = 0.05
    text_k: int = 8
    kept: float = 0.1
    epochs: Epochs = 5
    lr: LearningRate = 1e-3
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["train", "eval"] = "train"

    def __post_init__(self) -> None:
        shares = (self.image_share, self.text_share, self.kept)
        if not all(0 <= value <= 1 for value in shares) or self.text_k < 0:
            raise MethodError(
                Fault(
                    "image_share, text_share, kept must be in [0, 1], text_k at least 0",
                    where="msg",
                )
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)

        # The chosen weights start afresh.
        masks = self.choose(student, loaders, task=context.task)
        afresh(student, masks, seed=context.fresh_seed)
        context.facts["weights that start afresh"] = sum(int(mask.sum()) for mask in masks.values())

        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)
        lessons = loaders.retain.for_training(loaders.batch_size)

        def objective(batch: Batch) -> dict[str, Tensor]:
            return {"retain": training_loss(student, batch, context)}

        # They learn at the full rate, all others at a share of it.
        with masked(student, optimiser, masks, outside=self.kept):
            for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
                set_lr(optimiser, self.lr * triangle(epoch, self.epochs))
                set_mode(student, self.bn)
                batches = counted(loaders.retain, lessons.epoch(epoch))
                means = minimise(batches, objective, optimiser, context, clip=self.clip)
                context.log.epochs.append(means)
        return student

    def choose(self, model: NetModule, loaders: GuardedLoaders, *, task: Task) -> dict[str, Tensor]:
        """Which weights start afresh: Bool tensors by parameter name."""
        # Gradients on the forgotten and on as many retained samples.
        forget, retain = loaders.forget, loaders.retain
        count = min(len(forget.rows), len(retain.rows))
        retain_rows = np.sort(retain.random(0, count))
        forget_gradient = summed_gradient(model, forget.batches(forget.rows), task=task)
        retain_gradient = summed_gradient(model, retain.batches(retain_rows), task=task)

        # In each layer the weights whose two gradients are most alike.
        convolutional = convolutions(model)
        masks: dict[str, Tensor] = {}
        for layer in layers(model, text_k=self.text_k):
            name = f"{layer}.weight"
            share = self.image_share if layer in convolutional else self.text_share
            difference = (retain_gradient[name] - forget_gradient[name]).abs()
            masks |= largest({name: -difference}, share)
        return masks


def counted(loader: GuardedLoader, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Count the samples of batches from `GuardedLoader.for_training`, which counts none itself."""
    for batch in batches:
        loader.seen += len(batch)
        yield batch


def layers(model: NetModule, *, text_k: int) -> tuple[str, ...]:
    """Names of all convolutions of the image encoder and of the last linear layers of the other encoders."""
    image = convolutions(model)
    if text_k == 0 or all(map(is_image, model.modalities)):
        return image

    # Of the other encoders the last linear layers.
    text: list[str] = []
    for name in last_layers(model, image_k=0, text_k=text_k):
        if isinstance(model.get_submodule(name), nn.Linear):
            text.append(name)
    return (*image, *text)


@torch.no_grad()
def afresh(model: NetModule, masks: dict[str, Tensor], *, seed: int) -> None:
    """Give the chosen weights new initial values, in place; all others stay bit-identical.

    Args:
        model: The model.
        masks: Bool tensors by parameter name.
        seed: Of the new values; never the seed the model was first initialised with.
    """
    # A copy whose affected layers are initialised anew.
    new = copy.deepcopy(model)
    layer_names = tuple(name.rpartition(".")[0] for name in masks)
    new.start_afresh(seed=seed, names=layer_names)

    for name, mask in masks.items():
        weight = model.get_parameter(name)
        weight.copy_(torch.where(mask, new.get_parameter(name), weight))


def triangle(epoch: int, epochs: int) -> float:
    """Share of the peak learning rate in an epoch counted from 0: rising to 1 in the middle, then falling.

    Examples:
        >>> [triangle(epoch, 3) for epoch in range(3)]
        [0.5, 1.0, 0.5]
    """
    # The peak is in the middle.
    rising = (epochs + 1) // 2
    done = epoch + 1
    if done <= rising:
        return done / rising
    return (epochs + 1 - done) / (epochs + 1 - rising)
