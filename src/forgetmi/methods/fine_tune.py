"""Fine-tuning on the retained patients: the plainest baseline."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_mode, training_loss


@dataclass(frozen=True)
class FineTune:
    """Continue training on the retained patients, so that the memory of the others fades.

    Use it as the baseline every other method must beat: at a small learning rate nothing is forgotten, at a large one
    it is a slow retraining.

    Args:
        epochs: Passes over the retain set, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated, as the papers do).

    Source: the baseline of Golatkar et al. 2020 (arXiv 1911.04933); repositories SCRUB (SGD, rate 0.01 to 0.04, 10
    epochs) and Unlearn-Saliency (SGD, rate 0.01, momentum 0.9, decay 5e-4, 10 epochs). Deviations: AdamW,
    because of the text encoder, at a constant rate, by default the peak of the compact model's training; batch-norm
    statistics kept by default; all parts of the training loss have weight 1.

    Examples:
        >>> method = FineTune(lr=0.0003)
        >>> method.lr, method.info.exact
        (0.0003, False)
        >>> sorted(method.info.reads)
        ['labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Fine-tune",
        paper="baseline of Golatkar et al., CVPR 2020, arXiv 1911.04933",
        summary="Training goes on with everyone else's data; nothing is done about the forgotten patients.",
        reads=frozenset({"retain", "labels"}),
        exact=False,
        cost="1",
        suits="the baseline that every other method must beat",
        own_epochs=True,
        search={"lr": (1e-4, 3e-4, 1e-3), "epochs": (3, 5, 10)},
    )

    epochs: Epochs = 10
    lr: LearningRate = 1e-3
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)

        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        def objective(batch: Batch) -> dict[str, Tensor]:
            return {"retain": training_loss(student, batch, context)}

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)

            # One pass over the retain set.
            batches = loaders.retain.epoch(epoch)
            means = minimise(batches, objective, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)
        return student
