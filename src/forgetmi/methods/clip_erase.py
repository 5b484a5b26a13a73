"""CLIPErase: loosen the link between each forgotten image and its report while everything else stays."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import added, mean_of_those_there
from forgetmi.core.modalities import JOINT
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.model.losses import base_loss
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import (
    adamw,
    cycle,
    embeddings,
    minimise,
    set_mode,
    side_by_side,
    unimodal,
)
from forgetmi.unlearning.losses import keep
from forgetmi.unlearning.teacher import OutputTable, frozen, outputs_of

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class CLIPErase:
    """Train on the retained patients, push the cosine of forgotten pairs down to 0, keep the retained embeddings.

    Use it where the concern is the link itself, that an image can be matched to its own report: the one channel it
    closes. It does not aim at either head's outputs for a forgotten patient.

    Args:
        forget: Weight of the mean positive part of cos(image, report) over a forgotten batch, >= 0; at 0 the forgotten
            are not read.
        consistency: Weight of UR + MR of Forget-MI, the distances of the retained embeddings from the original's,
            >= 0; at 0 the original is not run.
        epochs: Passes over the retain set, >= 0; forget batches are cycled.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated).

    Source: Yang et al. 2025 (arXiv 2410.23330): a forgetting, a retention and a consistency term for CLIP. Deviations:
    retention is this model's own training loss, which holds its contrastive part; a cosine is not pushed below 0, since
    strongly opposed pairs would give the forgotten away; retained embeddings that are where they were, to rounding,
    are not pulled (`losses.keep`); the weights are ours.

    Examples:
        >>> method = CLIPErase(consistency=0.0)
        >>> method.consistency, method.info.exact
        (0.0, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain', 'teacher']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="CLIPErase",
        paper="Yang et al., ACL 2025, arXiv 2410.23330",
        summary="The link between each forgotten image and its report is dissolved while training goes on with "
        "everyone else's data.",
        reads=frozenset({"forget", "retain", "labels", "teacher"}),
        reads_signals=True,
        exact=False,
        cost="2, and 1/3 once",
        suits="withdrawals where matching an image to its report is the risk",
        own_epochs=True,
        search={"lr": (3e-4, 1e-3, 3e-3), "epochs": (3, 5), "forget": (0.3, 1.0, 3.0)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"pair", "joint"})
    moves: ClassVar[Moves] = "embeddings"

    forget: Weight = 0.3
    consistency: Weight = 0.1
    epochs: Epochs = 5
    lr: LearningRate = 1e-3
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The original's embeddings of the retained, where they are to be kept.
        retain, forget = loaders.retain, loaders.forget
        original: OutputTable | None = None
        if self.consistency > 0:
            original = outputs_of(frozen(model), retain, retain.rows, context.cached)

        # Passes over the forget set during one over the retain set.
        passes = math.ceil(len(retain) / max(1, len(forget)))
        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)
            forget_batches = cycle(forget, epoch * passes)

            # A forget batch goes with each retain batch.
            def objective(batch: Batch, forget_batches: Iterator[Batch] = forget_batches) -> Terms:
                return self._terms(student, batch, forget_batches, original, context)

            means = minimise(retain.epoch(epoch), objective, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)
        return student

    def _terms(
        self,
        student: NetModule,
        batch: Batch,
        forget_batches: Iterator[Batch],
        original: OutputTable | None,
        context: Context,
    ) -> Terms:
        """Loss terms of a retain batch and, where its weight is above 0, of the next forget batch."""
        # Retention: the training loss.
        outputs = student(batch)
        terms = {"retain": base_loss(outputs, batch, task=context.task).total}
        if self.forget > 0:
            # Forgetting: the pairs' similarity.
            forgotten = next(forget_batches)
            terms["forget"] = self.forget * pair_similarity(student(forgotten), forgotten.present)
        if original is not None:
            # Consistency: the distance from the original's embeddings.
            distance = drift(outputs, original.of(batch.row))
            terms["consistency"] = self.consistency * distance
        return terms


def pair_similarity(out: Outputs, present: Mapping[str, Tensor] | None = None) -> Tensor:
    """Mean over the samples of max(0, cosine) of each two modalities' embeddings, added; one pair is in [0, 1].

    Samples that lack one of the two are no pair.

    Raises:
        MethodError: The model has a single modality.
    """
    similarities: dict[str, Tensor] = {}
    for (one, a), (other, b) in combinations(unimodal(out).items(), 2):
        missing = [present[name] for name in (one, other) if present and name in present]
        both = torch.stack(missing).all(dim=0) if missing else None
        similarities[f"{one} and {other}"] = mean_of_those_there(_similarity, (a, b), both)

    if not similarities:
        raise MethodError(Fault("this method needs a model of two modalities or more"))
    return added(similarities)


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    return nn.functional.cosine_similarity(a, b, dim=1).clamp(min=0).mean()


def drift(out: Outputs, original: Outputs) -> Tensor:
    """UR + MR: mean distance of the concatenated and of the joint embeddings from the original's; a scalar, >= 0."""
    # C, the embeddings side by side, and J, the joint one.
    joint, original_joint = embeddings(out)[JOINT], embeddings(original)[JOINT]
    return keep(side_by_side(out), side_by_side(original)) + keep(joint, original_joint)
