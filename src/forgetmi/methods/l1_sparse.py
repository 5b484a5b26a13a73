"""l1-sparse fine-tuning: fine-tuning that also shrinks the weights, so that it forgets faster."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.model.net_module import NetModule, branches, free_but_joining, is_image
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_mode, training_loss
from forgetmi.unlearning.losses import l1_norm


@dataclass(frozen=True)
class L1Sparse:
    """Minimise the training loss on the retained patients plus ``alpha_t`` times the sum of absolute weights.

    The weight falls linearly: ``alpha_t = alpha (1 - t / (epochs - plain_epochs))`` in epoch t = 0, 1, ..., and is 0 in
    the plain epochs at the end. Use it where only retained data may be read and fine-tuning forgets too little.

    Args:
        image_alpha: Weight alpha of the penalty on the image encoder, >= 0.
        text_alpha: Weight alpha of the penalty on the text encoder, >= 0.
        plain_epochs: Epochs at the end without penalty, >= 0.
        epochs: Passes over the retain set, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated, as the authors do).

    Source: Jia et al. 2023 (arXiv 2304.04934); Unlearn-Sparse repository, ``FT_l1`` (SGD, rate 0.01, momentum 0.9,
    decay 5e-4, 10 epochs; its flag's default of 0.2 is meant for another method, the Ruli repository takes 3e-4 to
    1e-3). Deviations: AdamW with clipping; a weight for each encoder, because their sizes differ, the
    image encoder's tuned (docs/tuning.md); biases, norm layers and the gate carry no penalty.

    Examples:
        >>> method = L1Sparse(image_alpha=0.0001)
        >>> method.image_alpha, method.info.exact
        (0.0001, False)
        >>> sorted(method.info.reads)
        ['labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="l1-sparse",
        paper="Jia et al., NeurIPS 2023, arXiv 2304.04934",
        summary="Training goes on with everyone else's data while superfluous weights shrink, which makes the "
        "rest fade faster.",
        reads=frozenset({"retain", "labels"}),
        exact=False,
        cost="1",
        suits="withdrawals where the forgotten patients' data may not be read any more",
        own_epochs=True,
        search={"lr": (1e-4, 3e-4, 1e-3), "epochs": (5, 10), "image_alpha": (1e-5, 1e-4, 1e-3)},
    )
    moves: ClassVar[Moves] = "chosen weights"

    image_alpha: Weight = 1e-5
    text_alpha: Weight = 1e-5
    plain_epochs: Epochs = 0
    epochs: Epochs = 10
    lr: LearningRate = 1e-3
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def factor(self, epoch: int) -> float:
        """Share of the penalty that is left in an epoch, from 1 down to 0."""
        # The plain epochs at the end have no penalty.
        falling = self.epochs - self.plain_epochs
        if epoch >= falling:
            return 0.0
        return 1 - epoch / falling

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)

        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)

            # The penalty falls from epoch to epoch.
            factor = self.factor(epoch)

            def objective(batch: Batch, factor: float = factor) -> dict[str, Tensor]:
                loss = training_loss(student, batch, context)
                return {"retain": loss, **self._penalty(student, factor)}

            # One pass over the retain set.
            batches = loaders.retain.epoch(epoch)
            means = minimise(batches, objective, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)
        return student

    def _penalty(self, student: NetModule, factor: float) -> dict[str, Tensor]:
        """Weighted sum of both encoders' absolute weights; empty where it has no weight."""
        # Each encoder with its own weight.
        parts: list[Tensor] = []
        for modality, names in branches(student).items():
            weight = factor * (self.image_alpha if is_image(modality) else self.text_alpha)
            if weight > 0:
                # Biases and norm layers carry no penalty.
                matrices = [p for p in map(student.get_parameter, names) if p.ndim > 1]
                parts.append(weight * l1_norm(matrices))
        if not parts:
            return {}
        return {"l1": torch.stack(parts).sum()}
