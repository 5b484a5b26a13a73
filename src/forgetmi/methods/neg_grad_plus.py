"""NegGrad+: descend on the retained patients while climbing on the forgotten ones."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Share, Weight
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, cycle, minimise, set_mode, training_loss
from forgetmi.unlearning.losses import classification

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class NegGradPlus:
    """Minimise ``alpha L(retained batch) - (1 - alpha) L(forgotten batch)``, one batch of each a step.

    Use it as the strong simple baseline, with care: it is very sensitive to alpha, and forgotten patients end with
    losses far above those of patients never trained on.

    Args:
        alpha: Weight of the retained batch, 0 to 1; a part of weight 0 is not computed at all.
        epochs: Passes over the retain set, >= 0; forget batches are cycled, so that each forgotten sample is seen
            about |retain| / |forget| times an epoch.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated, as the authors do).

    Source: Kurmanji et al. 2023 (arXiv 2302.09880); SCRUB repository, ``train_negrad`` (alpha 0.95, SGD, rate 0.01, 10
    epochs; alpha 0.9999, 5 epochs for its membership attack). Deviations: AdamW with clipping; alpha, rate and epochs
    tuned (docs/tuning.md); the ranking loss is part of the retained term alone: its hinge depends on batch mates and is
    unbounded in the embeddings' length.

    Examples:
        >>> method = NegGradPlus(alpha=0.95)
        >>> method.alpha, method.info.exact
        (0.95, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="NegGrad+",
        paper="Kurmanji et al., NeurIPS 2023, arXiv 2302.09880",
        summary="Trains on everyone else's data while pushing the answers on the forgotten patients to be wrong.",
        reads=frozenset({"forget", "retain", "labels"}),
        exact=False,
        cost="2",
        suits="comparisons; a model in service only with an audit for over-forgetting",
        own_epochs=True,
        search={"lr": (3e-5, 1e-4, 3e-4), "epochs": (3, 5), "alpha": (0.8, 0.9, 0.95)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})

    alpha: Share = 0.9
    epochs: Epochs = 5
    lr: LearningRate = 3e-4
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)

        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # Passes over the forget set during one over the retain set.
        retain, forget = loaders.retain, loaders.forget
        passes = math.ceil(len(retain) / max(1, len(forget)))
        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)
            forget_batches = cycle(forget, epoch * passes)

            # A forget batch goes with each retain batch.
            def objective(batch: Batch, forget_batches: Iterator[Batch] = forget_batches) -> Terms:
                return self._terms(student, batch, forget_batches, context)

            means = minimise(retain.epoch(epoch), objective, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)
        return student

    def _terms(
        self, student: NetModule, batch: Batch, forget_batches: Iterator[Batch], context: Context
    ) -> Terms:
        """Weighted losses of a retain batch and of the next forget batch; a part of weight 0 is not computed."""
        terms: Terms = {}
        if self.alpha != 0:
            # Descend on the retained.
            terms["retain"] = self.alpha * training_loss(student, batch, context)
        if self.alpha != 1:
            # Climb on the forgotten.
            forget_batch = next(forget_batches)
            loss = classification(
                student(forget_batch),
                forget_batch.label,
                task=context.task,
                present=forget_batch.present,
            )
            terms["forget"] = (self.alpha - 1) * loss
        return terms
