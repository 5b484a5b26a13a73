"""SFRon: train on the retained and climb now and then on the forgotten, in the weights that matter more to them."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import added, each_head
from forgetmi.core.labels import known
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule, branches, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.importance import Each, squared_gradients
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import Means, adamw, cycle, set_mode, training_loss
from forgetmi.unlearning.masks import masked, shares


@dataclass(frozen=True)
class SFRon:
    """Saliency forgetting in the remain-preserving manifold online.

    Every step descends the training loss on a retained batch. Before each ``every``-th, one step climbs
    ``alpha_t sum_i w_i CE_i / b`` on a forgotten batch, in the weights whose mean squared gradient on the forgotten is
    at least ``ratio`` times that on the retained. Samples already forgotten weigh less (w_i falls as CE_i grows), and
    alpha_t falls to 0 along a cosine, so that training has the last word.

    Args:
        alpha: Weight of the climb at the start, >= 0; at 0 this is fine-tuning, bit for bit, and the forgotten are not
            read.
        adapt: Exponent lambda in w_i ~ CE_i^-lambda, >= 0; 0 = all weigh the same.
        every: Retained steps from one climb to the next, >= 1.
        ratio: Threshold gamma of the mask, >= 0; 0 = no mask.
        each: What is squared for the mask: batch = mean gradients of batches (the authors'); sample = each sample's
            own.
        forget_lr: Learning rate of the climb, plain gradient steps, > 0.
        forget_clip: Largest gradient norm of the climb, 0 = none.
        epochs: Passes over the retain set, >= 0; forget batches are cycled.
        lr: Learning rate of AdamW on the retained, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm on the retained, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated, on the forgotten as well, as the authors do).

    Source: Huang et al. 2024 (arXiv 2409.19732), repository Unified-Unlearning-w-Remain-Geometry (``sfron.py``: alpha
    25, lambda 0.5, gamma 1, clip 7; SGD, rate 0.01 along a cosine, momentum 0.9, decay 5e-4; 1,500 steps). Deviations:
    AdamW at a constant rate on the retained; the climb is a step of its own without momentum and decay, which would
    move weights outside the mask; epochs in place of a number of steps; w_i for each head; the repository's averaging
    of parameters, which its factor of 1 switches off, is left out.

    Examples:
        >>> method = SFRon(every=2)
        >>> method.every, method.info.exact
        (2, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="SFRon",
        paper="Huang et al., NeurIPS 2024, arXiv 2409.19732",
        summary="Training goes on with everyone else's data, interrupted by steps that undo what the model knows about "
        "the forgotten patients in the weights that matter most to them.",
        reads=frozenset({"forget", "retain", "labels"}),
        exact=False,
        cost="1 + 1/every, and 1 + |forget| / |retain| once",
        suits="comparisons; a strong method where both sets may be read",
        own_epochs=True,
        search={"forget_lr": (5e-4, 2e-3, 5e-3), "lr": (2e-4, 5e-4), "epochs": (3, 5)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    moves: ClassVar[Moves] = "chosen weights"

    alpha: float = 25.0
    adapt: float = 0.5
    every: int = 5
    ratio: float = 1.0
    each: Each = "batch"
    forget_lr: LearningRate = 0.005
    forget_clip: Weight = 7.0
    epochs: Epochs = 3
    lr: LearningRate = 5e-4
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.adapt >= 0 and self.every >= 1 and self.ratio >= 0):
            raise MethodError(
                Fault("alpha, adapt and ratio must be at least 0, every at least 1", where="sfron")
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The climb takes plain gradient steps, in the masked weights alone.
        masks: dict[str, Tensor] = {}
        if self.alpha > 0:
            masks = self._masks(student, loaders, context)
        moving = [p for p in student.parameters() if p.requires_grad]
        climber = torch.optim.SGD(moving, lr=self.forget_lr)

        # Passes over the forget set during one over the retain set.
        retain, forget = loaders.retain, loaders.forget
        climbs = math.ceil(len(retain) / self.every)
        passes = math.ceil(climbs / max(1, len(forget)))

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)
            forget_batches = cycle(forget, epoch * passes)

            # Steps are counted over all epochs.
            means = Means(("retain",))
            for step, batch in enumerate(retain.epoch(epoch), start=epoch * len(retain)):
                if self.alpha > 0 and step % self.every == 0:
                    # One climb on a forget batch.
                    alpha = self._weight(step, self.epochs * len(retain))
                    loss = self._forget_loss(student, next(forget_batches), context.task)
                    with masked(student, climber, masks):
                        context.step(-alpha * loss, climber, clip=self.forget_clip)

                # One step down on the retain batch.
                loss = training_loss(student, batch, context)
                context.step(loss, optimiser, clip=self.clip)
                means.add(loss[None], len(batch))
            context.log.epochs.append(means.read())
        return student

    def _masks(
        self, student: NetModule, loaders: GuardedLoaders, context: Context
    ) -> dict[str, Tensor]:
        """The weights that the climb may move: those that matter enough to the forgotten."""
        forget, _ = squared_gradients(student, loaders.forget, task=context.task, each=self.each)
        retain, _ = squared_gradients(student, loaders.retain, task=context.task, each=self.each)

        # A weight is chosen by the ratio of its mean squared gradients.
        masks = {name: forget[name] >= self.ratio * retain[name] for name in forget}
        context.facts["share of weights the climb may move"] = shares(masks, branches(student))
        return masks

    def _weight(self, step: int, total: int) -> float:
        """Weight alpha_t of the climb before a step, falling to 0 along a cosine."""
        return self.alpha * (1 + math.cos(math.pi * step / total)) / 2

    def _forget_loss(self, student: NetModule, batch: Batch, task: Task) -> Tensor:
        """Weighted loss of the heads on a forget batch, added."""

        # Each head has its own weights.
        def of_head(logits: Tensor, label: Tensor) -> Tensor:
            return adaptive(logits, label, task=task, power=self.adapt)

        return added(each_head(of_head, student(batch), along=[batch.label], present=batch.present))


def adaptive(logits: Tensor, label: Tensor, *, task: Task, power: float) -> Tensor:
    """Mean of ``w_i L_i`` over the samples whose label is known, with w_i ~ L_i^-power of mean 1, without gradient.

    L is the task's loss, of classes the cross-entropy.

    Args:
        logits: Float[b, k].
        label: As the task has them.
        task: Of the labels.
        power: lambda, >= 0.

    Returns:
        Scalar; 0 where no label is known.
    """
    # Samples of unknown label are left out.
    there = known(label)
    loss = task.loss(logits[there], label[there])
    weight = weights(loss.detach(), power=power)
    return (weight * loss).sum() / there.sum().clamp(min=1)


def weights(loss: Tensor, *, power: float) -> Tensor:
    """``loss^-power``, scaled to a mean of 1: Float[n] to Float[n]; losses below 1e-12 count as that.

    Examples:
        >>> weights(torch.tensor([1.0, 3.0]), power=1.0).tolist()
        [1.5, 0.5]
    """
    # Samples already forgotten weigh less.
    raw = loss.clamp(min=1e-12) ** -power
    return raw / raw.mean()
