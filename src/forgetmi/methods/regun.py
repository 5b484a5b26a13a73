"""REGUN: the forgotten are answered as the original answers patients it never saw."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.net import Need
from forgetmi.core.ranges import Draws, Epochs, LearningRate, Share, Weight
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.conflicts import without_conflict
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.held_out import Choice, HeldOut
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import Means, adamw, concatenate, set_mode, split
from forgetmi.unlearning.losses import classification, reference_distillation
from forgetmi.unlearning.teacher import frozen


@dataclass(frozen=True)
class REGUN:
    """Give every forgotten sample of a batch the mean prediction of held-out samples, and train on the retained.

    Use it to compare: the forgotten get the right spread of answers as a group, which brings aggregate measures near a
    retrained model's, but each gets other people's answer and not its own, which shows in the divergence from the
    retrained models' predictions. Held-out means validation patients: no test patient is read.

    Args:
        choice: Which held-out samples a batch is given: uniform (at random), classes (as many of each label as it has)
            or nearest (for each forgotten sample the held-out ones with the nearest embeddings).
        references: Held-out samples for each forgotten one, >= 1.
        weight: Weight of the divergence beside the cross-entropy on the retained, whose weight is 1 - weight; 0 to 1.
        aggregate: How the two gradients are combined: sum, or pcgrad (where they conflict, each loses its part against
            the other).
        epochs: Passes over the forget set, >= 0; each step has as many retained samples.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated).

    Source: arXiv 2603.11210, equal weights, held-out samples of the same batch size; pcgrad after RAUL (arXiv
    2606.00399) and Yu et al. 2020 (arXiv 2001.06782). No public code was found. Deviations: the divergence is the mean
    over the references of the task's own (of classes it differs from that of the mean prediction by a constant, so that
    the gradient is the same); all heads; options, rates and epochs are ours.

    Examples:
        >>> method = REGUN(choice="nearest")
        >>> method.choice, method.info.exact
        ('nearest', False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain', 'teacher', 'validation']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="REGUN",
        paper="arXiv 2603.11210",
        summary="The model answers about the forgotten patients as it answers, on average, about patients it never "
        "saw.",
        reads=frozenset({"forget", "retain", "validation", "labels", "teacher"}),
        exact=False,
        cost="2 x |forget| / |retain|, and a third of the validation set once",
        suits="comparisons; withdrawals where few retained data may be read",
        own_epochs=True,
        search={"choice": ("uniform", "classes", "nearest"), "lr": (1e-4, 3e-4, 1e-3)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})

    choice: Choice = "classes"
    references: Draws = 1
    weight: Share = 0.5
    aggregate: Literal["sum", "pcgrad"] = "sum"
    epochs: Epochs = 10
    lr: LearningRate = 3e-4
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # What joins the embeddings is fitted anew after every unlearning.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The original's outputs for held-out patients.
        forget, retain = loaders.forget, loaders.retain
        held_out = HeldOut(
            frozen(model), loaders, choice=self.choice, task=context.task, seed=context.seed
        )

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)
            means = Means(("forget", "retain"))

            # As many retained as forgotten samples, going on where the last epoch stopped.
            rows = retain.window(epoch, len(forget.rows))
            pairs = zip(forget.epoch(epoch), retain.batches(rows), strict=True)
            for number, (forgotten, retained) in enumerate(pairs):
                goal = held_out.of(
                    forgotten, each=self.references, epoch=epoch, batch_number=number
                )
                terms = self._terms(student, forgotten, goal, retained, context)
                means.add(torch.stack(terms), len(forgotten))

                loss = terms[0] + terms[1]
                if self.aggregate == "pcgrad":
                    loss = without_conflict(terms, student)
                context.step(loss, optimiser, clip=self.clip)
            context.log.epochs.append(means.read())
        return student.requires_grad_(True)

    def _terms(
        self,
        student: NetModule,
        forgotten: Batch,
        goal: Outputs,
        retained: Batch,
        context: Context,
    ) -> list[Tensor]:
        """The divergence of the forgotten from the held-out, and the retained's loss, each with its weight."""
        outputs, own = split(student(concatenate(forgotten, retained)), len(forgotten))
        divergence = reference_distillation(
            outputs, goal, task=context.task, present=forgotten.present
        )
        retain = classification(own, retained.label, task=context.task, present=retained.present)
        return [self.weight * divergence, (1 - self.weight) * retain]
