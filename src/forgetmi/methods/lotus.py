"""LoTUS: the original's answers about the forgotten are made less certain, until they are as good as for the unseen."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Share, Weight
from forgetmi.core.seeding import numpy_generator, torch_generator
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.gumbel import noisy
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.label_matched import matched_mean, per_sample
from forgetmi.unlearning.loaders import GuardedLoader, GuardedLoaders
from forgetmi.unlearning.loop import Means, adamw, concatenate, set_mode, split
from forgetmi.unlearning.losses import head_distillation
from forgetmi.unlearning.teacher import frozen


@dataclass(frozen=True)
class LoTUS:
    """Teach the model noisy, softened copies of the original's answers about the forgotten, hard ones about others.

    The targets are draws of a Gumbel softmax of the original's logits; on the forgotten its temperature is
    exp(alpha x (accuracy on the forgotten - the original's on validation patients)), so that they are softer the more
    is remembered. It ends when the model is no better on the forgotten than the original on validation patients.

    Args:
        alpha: How fast the temperature rises with the difference in accuracy, >= 0; 0 = it is 1.
        fraction: Share of the retain set read in each epoch, 0 to 1.
        tolerance: How far accuracy on the forgotten may fall below the goal before it ends, 0 to 1.
        epochs: Passes over the forget set at most, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated).

    Source: Spartalis et al. 2025 (arXiv 2503.18314), repository cspartalis/LoTUS (30 % of the retain set, ending .01
    below the goal, AdamW). Deviations: accuracies are means over all heads, those of validation patients re-weighted to
    the forget set's labels; each head has draws of its own; other rows of the retain set in each epoch; forgotten and
    retained samples in turn in each batch, in their proportion; batch statistics kept; clipping; epochs and rate are
    ours.

    Examples:
        >>> method = LoTUS(alpha=2.0)
        >>> method.fraction, method.info.exact
        (0.3, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain', 'teacher', 'validation']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="LoTUS",
        paper="Spartalis et al., CVPR 2025, arXiv 2503.18314",
        summary="The model is made as uncertain about the forgotten patients as its results on patients it never saw "
        "say it should be.",
        reads=frozenset({"forget", "retain", "validation", "labels", "teacher"}),
        exact=False,
        cost="4/3 x fraction + 5/3 x |forget| / |retain|, the teacher and the stop rule included",
        suits="comparisons; withdrawals where only part of the retained data may be read",
        own_epochs=True,
        search={"alpha": (1.0, 2.0, 4.0), "lr": (1e-4, 3e-4, 1e-3)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"classes"})

    alpha: Weight = 2.0
    fraction: Share = 0.3
    tolerance: Share = 0.01
    epochs: Epochs = 10
    lr: LearningRate = 3e-4
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        teacher = frozen(model)
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # What joins the embeddings is fitted anew after every unlearning.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The accuracy to come down to: the original's on patients it never saw, with the forgotten's mix of labels.
        forget, retain = loaders.forget, loaders.retain
        goal = accuracy_goal(teacher, loaders, task=context.task)
        context.facts["accuracy to come down to"] = goal

        count = max(1, round(self.fraction * len(retain.rows)))
        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            # It ends when the forgotten are answered no better than the unseen were.
            set_mode(student, self.bn)
            accuracy = mean_accuracy(student, forget, task=context.task)
            if accuracy - goal <= -self.tolerance:
                break
            temperature = math.exp(self.alpha * (accuracy - goal))
            generator = torch_generator(context.seed, "unlearn", "lotus", epoch)

            # Each batch of retained samples comes with its share of the forgotten.
            means = Means(("forget", "retain"))
            batches = retain.batches(retain.random(epoch, count))
            steps = math.ceil(count / loaders.batch_size)
            order = numpy_generator(context.seed, "unlearn", "lotus", epoch).permutation(
                forget.rows
            )
            for retained, rows in zip(batches, np.array_split(order, steps), strict=True):
                forgotten = list(forget.batches(rows)) if len(rows) else []
                batch = concatenate(*forgotten, retained)
                forget_part = batch.select(slice(len(rows)))
                with torch.no_grad():
                    original = teacher(batch)

                # Soft targets for the forgotten, hard ones for the retained.
                pairs = zip(
                    split(student(batch), len(rows)), split(original, len(rows)), strict=True
                )
                (ours, theirs), (own, kept) = pairs
                soft = noisy(theirs, temperature=temperature, generator=generator)
                hard = noisy(kept, temperature=0.0, generator=generator)
                terms = [
                    len(rows) / len(batch) * _divergence(ours, soft, forget_part, context),
                    len(retained) / len(batch) * _divergence(own, hard, retained, context),
                ]
                means.add(torch.stack(terms), len(batch))
                context.step(terms[0] + terms[1], optimiser, clip=self.clip)
            context.log.epochs.append(
                {**means.read(), "accuracy on the forgotten": accuracy, "temperature": temperature}
            )
        return student.requires_grad_(True)


def mean_accuracy(model: NetModule, loader: GuardedLoader, *, task: Task) -> float:
    """Share of right answers over a set's samples of known label, averaged over all heads."""
    _, errors = per_sample(model, loader, "error", task=task, heads="all")
    return 1 - float(errors.double().mean())


def accuracy_goal(original: NetModule, loaders: GuardedLoaders, *, task: Task) -> float:
    """The original's accuracy on validation patients, averaged over all heads, with the forget set's mix of labels."""
    forget_label, _ = per_sample(original, loaders.forget, "error", task=task, heads="all")
    label, errors = per_sample(original, loaders.validation, "error", task=task, heads="all")
    return 1 - matched_mean(label, errors, forget_label)


def _divergence(student: Outputs, target: Outputs, batch: Batch, context: Context) -> Tensor:
    """Over all heads, added; 0 without samples, and of each head without samples that it is for."""
    first = next(iter(student.logits.values()))
    if len(first) == 0:
        return first.sum()
    return head_distillation(student, target, task=context.task, present=batch.present)
