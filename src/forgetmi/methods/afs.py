"""AFS: distil the original into a new student that is kept uncertain about the forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, Weight
from forgetmi.core.task import Task
from forgetmi.model.losses import base_loss
from forgetmi.model.modes import evaluating, learning
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.model.recipe import Recipe
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import Means, adamw, set_lr
from forgetmi.unlearning.losses import classification, head_distillation
from forgetmi.unlearning.teacher import OutputTable, frozen, outputs_of


@dataclass(frozen=True)
class AFS:
    """Train a fresh student on part of the retained patients, with the original as teacher and the forgotten as risk.

    Use it when the weights themselves must be new but all of the training data need not, or cannot, be used again. The
    teacher saw the forgotten, so traces can still pass through its outputs for the others.

    Args:
        fraction: Share of the retained images the student is trained on, above 0 to 1, drawn once.
        kd: Weight of the distillation of both heads, >= 0.
        temperature: Temperature of the distillation, > 0.
        risk: Weight of the risk term, >= 0; at 0 this is plain distillation and the forgotten are not read.
        query_batches: Forget batches a step that the risk is estimated on, >= 1.
        epochs: Passes over the student's images, >= 0.

    Source: Zhou et al. 2023 (Nature Communications 14), repository JoshuaChou2018/AFS (``Purification.py``; temperature
    4, weights 1 and 10, 20 epochs, Adam). Deviations: weights 3 and 0.3, tuned (docs/tuning.md), 15 epochs; the risk,
    ``risk`` divided by the summed cross-entropy of all forget batches, is estimated on a few batches a step instead of
    all; their forward pass uses the running batch statistics, so that none of the student's own are learned from the
    forgotten; the task loss is the original's, with its ranking term; optimiser and schedule are the original recipe's;
    the last epoch is the result. The paper's audit (EMA) is left out: by it every image that is classified well counts
    as a member, and its test is not calibrated; `forgetmi.audit.result` audits the result.

    Examples:
        >>> method = AFS(fraction=0.3)
        >>> method.fraction, method.info.exact
        (0.3, False)
        >>> sorted(method.info.reads)
        ['forget', 'fresh model', 'labels', 'recipe', 'retain', 'teacher']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="AFS",
        paper="Zhou et al., Nature Communications 2023, vol. 14",
        summary="A new model learns from the old one's answers on part of everyone else's data and is kept from "
        "knowing the forgotten patients.",
        reads=frozenset({"forget", "retain", "labels", "teacher", "recipe", "fresh model"}),
        reads_signals=True,
        exact=False,
        cost="(1 + query_batches) x fraction, and fraction / 3 once",
        suits="purifying a model for passing on, where only part of the data may be used again",
        own_epochs=True,
        search={"kd": (1.0, 3.0, 10.0), "risk": (0.3, 1.0, 3.0)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"fresh", "predictions"})
    moves: ClassVar[Moves] = "afresh"

    fraction: float = 0.5
    kd: Weight = 3.0
    temperature: float = 4.0
    risk: Weight = 0.3
    query_batches: int = 1
    epochs: Epochs = 15

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1 or self.temperature <= 0 or self.query_batches < 1:
            raise MethodError(
                Fault(
                    "fraction must be in (0, 1], temperature above 0 and query_batches at least 1",
                    where="afs",
                    why=f"got {self.fraction}, {self.temperature} and {self.query_batches}",
                )
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        if self.epochs == 0:
            return frozen(model).requires_grad_(True)

        recipe = context.recipe

        # A new model, trained by the original's recipe.
        student = context.fresh_model(context.fresh_seed)
        free_but_joining(student)
        optimiser = adamw(student, lr=recipe.lr, weight_decay=recipe.weight_decay)

        # The part of the retained images that the student learns from, with the original's outputs.
        retain = loaders.retain
        count = max(2, round(self.fraction * len(retain.rows)))
        rows = np.sort(retain.random(0, min(count, len(retain.rows))))
        teacher_outputs = outputs_of(frozen(model), retain, rows, context.cached)
        lessons = retain.for_training(recipe.batch_size, rows=rows)
        total_steps = self.epochs * len(lessons)

        # Without a weight the risk is not computed.
        names = ("task", "distillation", "risk") if self.risk > 0 else ("task", "distillation")
        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            means = Means(names)
            learning(student)
            for step, batch in enumerate(lessons.epoch(epoch), start=epoch * len(lessons)):
                # The learning rate follows the recipe's schedule.
                set_lr(optimiser, recipe.lr * recipe.lr_factor(step, total_steps))

                # Loaders for training count nothing themselves.
                retain.seen += len(batch)

                terms = self._lesson(student, batch, teacher_outputs, recipe, context)
                if self.risk > 0:
                    query = self._query(loaders, step)
                    terms.append(
                        self.risk * exposure(student, query, len(loaders.forget), task=context.task)
                    )

                # One step on the sum of all terms.
                context.step(sum(terms[1:], terms[0]), optimiser, clip=recipe.clip)
                means.add(torch.stack(terms), len(batch))
            context.log.epochs.append(means.read())
        return student

    def _lesson(
        self,
        student: NetModule,
        batch: Batch,
        teacher_outputs: OutputTable,
        recipe: Recipe,
        context: Context,
    ) -> list[Tensor]:
        """Task loss and distillation of both heads on a retained batch."""
        outputs = student(batch)
        original = teacher_outputs.of(batch.row)

        # The original's own loss.
        task = base_loss(
            outputs, batch, task=context.task, ranking_weight=recipe.ranking_weight
        ).total

        # And the original's outputs as targets, for each head.
        distilled = head_distillation(
            outputs,
            original,
            task=context.task,
            temperature=self.temperature,
            present=batch.present,
        )
        return [task, self.kd * distilled]

    def _query(self, loaders: GuardedLoaders, step: int) -> Iterator[Batch]:
        """The forget batches that a step estimates the risk on; each step continues where the last stopped."""
        forget = loaders.forget
        count = min(self.query_batches * loaders.batch_size, len(forget.rows))
        return forget.batches(forget.window(step, count))


def exposure(student: NetModule, query: Iterator[Batch], batches: int, *, task: Task) -> Tensor:
    """One over the summed loss of all forget batches, estimated from some; falls as the student knows less.

    Args:
        student: In any mode; the query runs with its running batch statistics and without dropout.
        query: Some forget batches.
        batches: Total number of forget batches.
        task: Of the labels.

    Returns:
        Scalar, > 0 and at most 1,000.
    """
    # No batch statistics are learned from the forgotten.
    with evaluating(student):
        losses: list[Tensor] = []
        for batch in query:
            out = student(batch)
            losses.append(classification(out, batch.label, task=task, present=batch.present))

    # The mean of some batches, times the number of all.
    total = batches * sum(losses[1:], losses[0]) / len(losses)
    return 1 / total.clamp(min=1e-3)
