"""MSA: subtract the direction in which the forgotten pull an early checkpoint, add that of the retained."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, Weight
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.batch_statistics import measure_statistics
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.early_checkpoints import EarlyCheckpoints, allowed, restored
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.label_matched import matched_mean, per_sample
from forgetmi.unlearning.loaders import GuardedLoader, GuardedLoaders
from forgetmi.unlearning.original import TrainingTask, watched
from forgetmi.unlearning.schedule import scheduled
from forgetmi.unlearning.teacher import frozen

Direction = dict[str, Tensor]


@dataclass(frozen=True)
class MSA:
    """Model state arithmetic: original - alpha (tuned on forgotten - early) + beta (tuned on as many others - early).

    Use it to compare with what an early checkpoint can do otherwise (see Rewind). Both directions are those in which a
    short tuning moves a checkpoint that the original's training kept early.

    Args:
        kept: After which epochs the original's training keeps a checkpoint, each >= 1; the latest is used, and none is
            kept once the learning rate has begun to fall. Part of how the original is trained.
        alpha: Values to be tried, each >= 0.
        beta: Values to be tried, each >= 0; every pair with alpha is tried. With alpha and beta 0 alone the result is
            the original.
        tune_epochs: Passes of the two tunings, >= 0, at the recipe's full learning rate.

    Of all pairs that one is taken with the smallest difference between the loss on the forgotten and that on validation
    patients of the same mix of labels, plus what the latter is above the original's. No retrained model is used.

    Source: Rezaei et al. 2025 (arXiv 2506.20941), repository mehrdadsaberi/MSA_unlearning, for language models.
    Deviations: the rule by which alpha and beta are chosen; batch statistics are measured anew on the retained (on four
    batches for the choice, on all for the result); tuning by the model's own training loss and recipe; what joins the
    embeddings is left alone, since it is fitted anew. The log that is returned holds the untrained model alone: the
    early checkpoint saw the forgotten.

    Examples:
        >>> method = MSA(alpha=(0.5, 1.0))
        >>> method.alpha, method.info.exact
        ((0.5, 1.0), False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'recipe', 'retain', 'teacher', 'training log', 'validation']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="MSA",
        paper="Rezaei et al., ICLR 2026, arXiv 2506.20941",
        summary="How the forgotten patients pull the model is measured at a state kept near the beginning of its "
        "training, and taken away from the finished model.",
        reads=frozenset(
            {"forget", "retain", "validation", "labels", "teacher", "recipe", "training log"}
        ),
        exact=False,
        cost="2 x tune_epochs x |forget| / |retain| once, a third of |forget| and of the validation set for each pair, "
        "and 1/3 for the statistics",
        suits="studies; models trained with withdrawals in mind",
        original=watched(lambda method, task: method.recorder(task), EarlyCheckpoints.load),
        search={"tune_epochs": (1, 3, 6)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    moves: ClassVar[Moves] = "stored weights"

    kept: tuple[Epochs, ...] = (2,)
    alpha: tuple[Weight, ...] = (0.25, 0.5, 1.0)
    beta: tuple[Weight, ...] = (0.0, 0.5, 1.0)
    tune_epochs: Epochs = 3

    def __post_init__(self) -> None:
        if any(epoch < 1 for epoch in self.kept) or not self.alpha or not self.beta:
            raise MethodError(
                Fault("kept must be at least 1, and alpha and beta need a value each", where="msa")
            )

    def recorder(self, task: TrainingTask) -> EarlyCheckpoints:
        """The recorder of the original's training."""
        return EarlyCheckpoints(allowed(self.kept, task.recipe))

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        log = context.training_log
        if not isinstance(log, EarlyCheckpoints):
            raise MethodError(
                Fault(
                    "MSA needs an early checkpoint of the original's training",
                    do="Train it with forgetmi train --method msa, or in Python with train_original.",
                )
            )
        early = restored(model, log.state(max(log.states)))
        context.keep_log(log.replaced({}))

        # In which directions the forgotten, and as many others, pull the early checkpoint.
        forget, retain = loaders.forget, loaders.retain
        others = retain.window(0, min(len(forget.rows), len(retain.rows)))
        away = self._direction(early, forget, forget.rows, context)
        towards = self._direction(early, retain, others, context)

        # The pair after which the forgotten are like those never seen.
        alpha, beta = self._choose(model, away, towards, loaders, context)
        student = moved(model, away, towards, alpha=alpha, beta=beta)
        if alpha or beta:
            measure_statistics(student, retain.batches(retain.rows))
        context.facts["alpha"] = alpha
        context.facts["beta"] = beta
        return student

    def _direction(
        self, early: NetModule, loader: GuardedLoader, rows: Ints, context: Context
    ) -> Direction:
        """By how much a tuning on some samples moves each parameter."""
        tuned = copy.deepcopy(early)
        recipe = scheduled(context.recipe, epochs=self.tune_epochs, schedule="constant")
        context.train(tuned, loader, recipe=recipe, rows=np.sort(rows), resumable=False)
        before = dict(early.named_parameters())
        return {name: (value - before[name]).detach() for name, value in tuned.named_parameters()}

    def _choose(
        self,
        model: NetModule,
        away: Direction,
        towards: Direction,
        loaders: GuardedLoaders,
        context: Context,
    ) -> tuple[float, float]:
        """The best pair by the losses on the forgotten and on validation patients; a single one is not measured."""
        pairs = list(itertools.product(self.alpha, self.beta))
        if len(pairs) == 1:
            return pairs[0]

        few = loaders.retain.window(0, min(4 * loaders.batch_size, len(loaders.retain.rows)))
        usual = _losses(frozen(model), loaders, context)[1]
        scores: list[float] = []
        for alpha, beta in pairs:
            candidate = moved(model, away, towards, alpha=alpha, beta=beta)
            if alpha or beta:
                measure_statistics(candidate, loaders.retain.batches(few))
            forgotten, validation = _losses(candidate, loaders, context)
            scores.append(abs(forgotten - validation) + max(0.0, validation - usual))
        context.facts["pairs tried"] = len(pairs)
        return pairs[min(range(len(pairs)), key=lambda number: scores[number])]


@torch.no_grad()
def moved(
    model: NetModule, away: Direction, towards: Direction, *, alpha: float, beta: float
) -> NetModule:
    """A copy of the model, minus ``alpha`` times one direction, plus ``beta`` times the other.

    What joins the embeddings stays: no training loss reaches it, so that both directions are 0 there.
    """
    student = copy.deepcopy(model)
    for name, value in student.named_parameters():
        value.sub_(away[name], alpha=alpha).add_(towards[name], alpha=beta)
    return student


def _losses(model: NetModule, loaders: GuardedLoaders, context: Context) -> tuple[float, float]:
    """Mean losses on the forgotten, and on validation patients of the same mix of labels."""
    forget, validation = loaders.forget, loaders.validation
    group, loss = per_sample(model, forget, "cross_entropy", task=context.task, heads="all")
    other_group, other_loss = per_sample(
        model, validation, "cross_entropy", task=context.task, heads="all"
    )
    return float(loss.double().mean()), matched_mean(other_group, other_loss, group)
