"""SCRUB: move away from the original on the forgotten patients, stay close to it on the retained ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Positive, Weight
from forgetmi.core.task import Task
from forgetmi.model.losses import base_loss
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import Means, adamw, minimise, set_lr, set_mode
from forgetmi.unlearning.losses import head_distillation
from forgetmi.unlearning.rewind import History, rewind
from forgetmi.unlearning.teacher import OutputTable, frozen, outputs_of


@dataclass(frozen=True)
class Scrub:
    """SCRUB, and with ``rewind`` SCRUB+R.

    With KD = T^2 KL(original || student) added over both heads: a max pass climbs KD on the forget set, a min pass
    descends ``gamma`` training loss + ``alpha`` KD on the retain set. Each of the first ``max_epochs`` epochs has both,
    the others the min pass alone.

    Args:
        alpha: Weight of KD on the retain set, >= 0; 0 = not computed.
        gamma: Weight of the training loss on the retain set, >= 0.
        temperature: T, > 0.
        max_epochs: Epochs with a max pass, >= 0.
        first: Which pass an epoch begins with. At the original KD and its gradient are 0, so that a max pass that comes
            first does nothing to a branch without dropout and learned batch statistics.
        rewind: Return the state, among those after each epoch and the original, whose error (or mean cross-entropy) on
            the forget set is closest to the final model's on validation patients of the same mix of labels; off = the
            final state.
        epochs: Passes over the retain set, >= 0.
        lr: Learning rate of AdamW at the start, > 0.
        decay_rate: Factor on the learning rate, > 0, once for each number of decay_epochs that is passed.
        decay_epochs: Epochs, counted from 1, after which the learning rate falls.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none; the max pass diverges without.
        bn: Batch-norm statistics: eval (kept) or train (updated, in max passes on the forgotten, as the authors do).

    Source: Kurmanji et al. 2023 (arXiv 2302.09880); SCRUB repository, ``train_distill`` and notebooks (Adam, rate 5e-4,
    decay 0.1, T 2, alpha 0.5, gamma 1, 3 max epochs of 10, rate x0.1 after epochs 5, 8 and 9, batches of 64 forgotten
    and 32 retained; for its membership attack SGD, T 4, 5 epochs). Deviations: alpha 1, tuned (docs/tuning.md); 5
    epochs, the rate falling after the third; decay 0.01; ``first`` = min; the training loss in place of cross-entropy;
    AdamW with clipping; one batch size; the original is a candidate of the rewind, which the notebook forgot to save.
    The log's "max gradient" is the norm of the epoch's first max step, after clipping.

    Examples:
        >>> method = Scrub(rewind="error")
        >>> method.rewind, method.info.exact
        ('error', False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain', 'teacher', 'validation']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="SCRUB",
        paper="Kurmanji et al., NeurIPS 2023, arXiv 2302.09880",
        summary="Makes the model disagree with the original about the forgotten patients and agree with it about "
        "everyone else.",
        reads=frozenset({"forget", "retain", "validation", "labels", "teacher"}),
        reads_signals=True,
        exact=False,
        cost="1 + |forget| / |retain| in epochs with a max pass, 1 in the others; 1/3 of that once for the teacher",
        suits="comparisons; single patients with rewind",
        own_epochs=True,
        search={"lr": (1e-4, 5e-4, 1e-3), "max_epochs": (1, 2, 3), "alpha": (0.1, 0.5, 1.0)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})

    alpha: Weight = 1.0
    gamma: Weight = 1.0
    temperature: Positive = 2.0
    max_epochs: Epochs = 3
    first: Literal["min", "max"] = "min"
    rewind: Literal["off", "error", "cross_entropy"] = "off"
    epochs: Epochs = 5
    lr: LearningRate = 5e-4
    decay_rate: Positive = 0.1
    decay_epochs: tuple[Epochs, ...] = (3,)
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        teacher = frozen(model)
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The original's outputs, for the passes that need them.
        forget, retain = loaders.forget, loaders.retain
        forget_original: OutputTable | None = None
        if self.max_epochs:
            forget_original = outputs_of(teacher, forget, forget.rows, context.cached)
        retain_original: OutputTable | None = None
        if self.alpha:
            retain_original = outputs_of(teacher, retain, retain.rows, context.cached)

        # The states that a rewind chooses from: the original, and one after each epoch.
        history = History()
        if self.rewind != "off":
            history.keep(student)

        def objective(batch: Batch) -> dict[str, Tensor]:
            return self._descend(student, batch, retain_original, context)

        # Both passes, in the order that is set.
        order = ("max", "min") if self.first == "max" else ("min", "max")
        changing: dict[str, Any] = {"student": student, "optimiser": optimiser, "history": history}
        for epoch in context.epochs(self.epochs, **changing):
            # The learning rate falls after some epochs.
            set_lr(optimiser, self.rate(epoch))
            set_mode(student, self.bn)
            means: dict[str, float] = {}
            for part in order:
                if part == "min":
                    batches = retain.epoch(epoch)
                    means |= minimise(batches, objective, optimiser, context, clip=self.clip)
                elif forget_original is not None and epoch < self.max_epochs:
                    batches = forget.epoch(epoch)
                    means |= self._climb(student, batches, forget_original, optimiser, context)

            context.log.epochs.append(means)
            if self.rewind != "off":
                history.keep(student)

        if self.rewind != "off":
            context.facts.update(
                rewind(student, history, loaders, measure=self.rewind, task=context.task)
            )
        return student

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        # Each of the numbers that is passed lowers the rate once.
        passed = sum(epoch + 1 > number for number in self.decay_epochs)
        return self.lr * self.decay_rate**passed

    def _kd(self, outputs: Outputs, original: OutputTable, batch: Batch, task: Task) -> Tensor:
        """Distillation from the original, added over the heads."""
        return head_distillation(
            outputs,
            original.of(batch.row),
            task=task,
            temperature=self.temperature,
            present=batch.present,
        )

    def _descend(
        self, student: NetModule, batch: Batch, original: OutputTable | None, context: Context
    ) -> dict[str, Tensor]:
        """Terms of the min pass: training loss, and KD where it has a weight."""
        # The model's own training loss.
        outputs = student(batch)
        loss = base_loss(outputs, batch, task=context.task).total
        terms = {"retain": self.gamma * loss}
        if original is not None:
            terms["min"] = self.alpha * self._kd(outputs, original, batch, context.task)
        return terms

    def _climb(
        self,
        student: NetModule,
        batches: Iterable[Batch],
        original: OutputTable,
        optimiser: torch.optim.Optimizer,
        context: Context,
    ) -> dict[str, float]:
        """The max pass: mean of minus KD, and the norm of the first step's gradient; empty without batches."""
        means = Means(("max",))
        first_gradient: float | None = None
        for batch in batches:
            kd = self._kd(student(batch), original, batch, context.task)

            # Climb: minus KD is minimised.
            context.step(-kd, optimiser, clip=self.clip)
            if first_gradient is None:
                first_gradient = _gradient_norm(optimiser)
            means.add(-kd[None], len(batch))

        if first_gradient is None:
            return {}
        return {"max gradient": first_gradient, **means.read()}


def _gradient_norm(optimiser: torch.optim.Optimizer) -> float:
    """Norm of the gradient of the optimiser's parameters, as the last step used it."""
    norms: list[Tensor] = []
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                norms.append(parameter.grad.norm())
    return float(torch.stack(norms).norm())
