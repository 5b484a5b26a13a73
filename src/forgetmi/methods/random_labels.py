"""Random labels: train the forgotten on wrong labels, everyone else on their own."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.core.task import Rule
from forgetmi.model.losses import base_loss
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_mode, split, training_loss
from forgetmi.unlearning.losses import classification
from forgetmi.unlearning.mixed import forgotten, mixed, portion
from forgetmi.unlearning.relabel import Unit, relabelling

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class RandomLabels:
    """Cross-entropy to a random label on each forgotten sample, the training loss on the retained.

    Use it as a simple baseline that reads both sets. Wrong but confident labels harm the calibration of severities;
    ``neighbour`` limits that where the classes are grades.

    Args:
        labels: other = each other class with the same probability; neighbour = a grade next to the true one (ordinal
            classes only); any = each class with the same probability, the true one included. Unknown labels stay
            unknown.
        unit: What shares a draw: the images of a study, or all of a patient's (then it is the shift from the true to
            the drawn class that they share).
        redraw: Draw anew each epoch instead of once.
        order: mixed = each epoch one pass over both sets, shuffled together; passes = one over the forgotten, then one
            over the retained (overshoots sooner).
        epochs: Passes over both sets, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated, on the forgotten as well, as the authors do).

    Source: Graves et al. 2021 (arXiv 2010.10981), relabelling; repositories AmnesiacML, Unlearn-Saliency (``RL.py``:
    passes, any, redrawn each batch; SGD, rate 0.01, momentum 0.9, decay 5e-4, 10 epochs) and
    selective-synaptic-dampening, whose "amnesiac" is this method and not Amnesiac unlearning (mixed; 3 epochs, rate
    1e-4, batches of 128). Deviations: AdamW with clipping; both heads get the same label; one draw by default; the
    ranking loss, whose margin depends on labels, is left out for the forgotten.

    Examples:
        >>> method = RandomLabels(labels="neighbour")
        >>> method.labels, method.info.exact
        ('neighbour', False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Random labels",
        paper="Graves et al., AAAI 2021, arXiv 2010.10981",
        summary="Teaches the model wrong answers about the forgotten patients while training goes on with everyone "
        "else's data.",
        reads=frozenset({"forget", "retain", "labels"}),
        exact=False,
        cost="1 + |forget| / |retain|",
        suits="a simple baseline; not where calibrated severities matter",
        own_epochs=True,
        search={"lr": (1e-4, 3e-4, 1e-3), "epochs": (3, 5, 10)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})

    labels: Rule = "other"
    unit: Unit = "study"
    redraw: bool = False
    order: Literal["mixed", "passes"] = "mixed"
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
        self.train(student, optimiser, loaders, context)
        return student

    def train(
        self,
        student: NetModule,
        optimiser: torch.optim.Optimizer,
        loaders: GuardedLoaders,
        context: Context,
    ) -> None:
        """The method's epochs, in place.

        Args:
            student: The model.
            optimiser: Over the parameters that may move; SalUn masks its steps.
            loaders: Forget and retain are read.
            context: Of the run.

        Raises:
            MethodError: Neighbours are asked for among nominal classes.
        """
        if self.labels == "neighbour" and not context.task.ordered:
            raise MethodError(
                Fault("nominal classes have no neighbours", do="Choose labels other or any.")
            )

        # Losses of a forget batch, of a retain batch and of a mixed one.
        def forget_loss(batch: Batch) -> Terms:
            loss = classification(
                student(batch), batch.label, task=context.task, present=batch.present
            )
            return {"forget": loss}

        def retain_loss(batch: Batch) -> Terms:
            return {"retain": training_loss(student, batch, context)}

        def mixed_loss(batch: Batch) -> Terms:
            return _both(student, batch, loaders.forget.rows, context)

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)

            # The forgotten samples' labels of this epoch.
            relabel = relabelling(
                loaders.forget,
                student.spec.classes,
                task=context.task,
                rule=self.labels,
                unit=self.unit,
                seed=context.seed,
                draw=epoch if self.redraw else 0,
            )

            # One pass over each set, or one over both.
            if self.order == "passes":
                batches = map(relabel, loaders.forget.epoch(epoch))
                means = minimise(batches, forget_loss, optimiser, context, clip=self.clip)
                batches = loaders.retain.epoch(epoch)
                means |= minimise(batches, retain_loss, optimiser, context, clip=self.clip)
            else:
                both = mixed(loaders, loaders.retain.rows, seed=context.seed, epoch=epoch)
                batches = map(relabel, both)
                means = minimise(batches, mixed_loss, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)


def _both(student: NetModule, batch: Batch, forget_rows: Ints, context: Context) -> Terms:
    """Mean loss over a mixed batch, as the parts of both sets; its first samples are the forgotten."""
    first = forgotten(batch, forget_rows)
    forget_outputs, retain_outputs = split(student(batch), first)

    # The ranking loss needs the retained samples' labels and studies, and who lacks what.
    there = {name: present[first:] for name, present in batch.present.items()}
    rest = replace(batch, label=batch.label[first:], study=batch.study[first:], present=there)

    def forget_loss() -> Tensor:
        there = {name: present[:first] for name, present in batch.present.items()}
        label = batch.label[:first]
        return classification(forget_outputs, label, task=context.task, present=there)

    def retain_loss() -> Tensor:
        return base_loss(retain_outputs, rest, task=context.task).total

    return {
        "forget": portion(forget_loss, first, batch),
        "retain": portion(retain_loss, len(batch) - first, batch),
    }
