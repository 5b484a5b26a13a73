"""MultiDelete: untie each forgotten image from its report, keep each modality and everyone else's embeddings."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Outputs
from forgetmi.core.modalities import JOINT, TEXT
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Share, Weight
from forgetmi.core.seeding import numpy_generator
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.derangement import derangement
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import (
    Means,
    adamw,
    concatenate,
    embeddings,
    set_lr,
    set_mode,
    side_by_side,
    split,
)
from forgetmi.unlearning.teacher import OutputTable, frozen, outputs_of


@dataclass(frozen=True)
class MultiDelete:
    """Minimise ``md MD + mkr MKR + ukr UKR``, one forget and one retain batch a step.

    MD (modality decoupling) pulls a forgotten pair's joint embedding to the original's of its image with a report of
    another patient; MKR keeps retained pairs' joint embeddings; UKR keeps each forgotten image's and report's own
    embedding. Each is the mean squared difference over samples and components, the target being the original's.

    Use it as the published multimodal baseline. It keeps the image embeddings of forgotten patients where they were, so
    that the image head, and attacks on its loss, hardly change; and MD can be met by the gate alone.

    Args:
        md, mkr, ukr: Weights of the three losses, >= 0.
        partners: Whose reports stand in, drawn anew each epoch: retain (as the paper) or forget (as the authors' code:
            permuted, never within a patient; refused where one patient has over half of the samples).
        epochs: Passes over the forget set, >= 0.
        lr: Peak learning rate of AdamW, > 0.
        warmup: Share of the steps with rising learning rate, 0 to 1; then it falls as a cosine to 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated).

    Source: Cheng and Amiri 2024 (arXiv 2311.12047); MultiDelete repository, ``VLUnlearnClassificationTask`` (rate 2e-5,
    decay 0.05, 16 + 16 samples a step, 3 epochs, or 10 for its own method; text permuted within the batch by a
    permutation that may leave it in place). Deviations: the joint embedding is the gate's, of which the student trains
    its own copy; the image of a decoupled pair is the forgotten one's own, while the paper draws both from retained
    pairs; the permutation runs over the whole set, because a small batch may allow none; the last epoch is returned,
    while the code keeps the best one on test data; rate and md tuned (docs/tuning.md).

    Examples:
        >>> method = MultiDelete(partners="forget")
        >>> method.partners, method.info.exact
        ('forget', False)
        >>> sorted(method.info.reads)
        ['forget', 'retain', 'teacher']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="MultiDelete",
        paper="Cheng and Amiri, ECCV 2024, arXiv 2311.12047",
        summary="Unties each forgotten image from its report, while what the model makes of each alone, and of "
        "everyone else, stays the same.",
        reads=frozenset({"forget", "retain", "teacher"}),
        reads_signals=True,
        exact=False,
        cost="2 x |forget| / |retain|, and once up to 1/3 for the teacher",
        suits="comparisons; models that answer from the joint embedding",
        own_epochs=True,
        search={"lr": (1e-4, 3e-4, 1e-3), "epochs": (5, 10), "md": (0.3, 1.0, 3.0)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"text", "pair", "joint", "joined"})
    moves: ClassVar[Moves] = "embeddings"

    md: Weight = 0.3
    mkr: Weight = 1.0
    ukr: Weight = 1.0
    partners: Literal["retain", "forget"] = "retain"
    epochs: Epochs = 10
    lr: LearningRate = 1e-3
    warmup: Share = 0.1
    weight_decay: Weight = 0.05
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        teacher = frozen(model)
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student

        # The joint embedding is the gate's, so that the gate is trained.
        for name in student.joining:
            student.get_submodule(name).requires_grad_(True)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # Of every epoch: the retained rows, and the rows whose reports stand in for the forgotten ones.
        forget, retain = loaders.forget, loaders.retain
        retain_rows = [retain.window(epoch, len(forget.rows)) for epoch in range(self.epochs)]
        partner_rows = [
            self._partners(loaders, context.seed, epoch) for epoch in range(self.epochs)
        ]
        partners_are_retained = self.partners == "retain"

        # The original's outputs for all of them.
        forget_original = outputs_of(teacher, forget, forget.rows, context.cached)
        needed = [*retain_rows, *partner_rows] if partners_are_retained else retain_rows
        all_retain_rows = np.unique(np.concatenate(needed))
        retain_original = outputs_of(teacher, retain, all_retain_rows, context.cached)
        reports = retain_original if partners_are_retained else forget_original
        partners = retain if partners_are_retained else forget

        weights = torch.tensor([self.md, self.mkr, self.ukr], device=student.device)
        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)

            # Goals of this epoch: each image with a foreign report.
            rows = partner_rows[epoch]
            foreign = reports.of(torch.from_numpy(rows))
            lacking = forget.present(forget.rows)
            own = {name: lacking[name] for name in lacking if name in student.modalities}
            pairs = complete(own, partners.present(rows))
            goal = decoupled(teacher, forget_original, foreign, pairs)

            means = Means(("MD", "MKR", "UKR"))
            forget_batches = forget.epoch(epoch)
            retain_batches = retain.batches(retain_rows[epoch])
            for forget_batch, retain_batch in zip(forget_batches, retain_batches, strict=True):
                set_lr(optimiser, self.rate(context.log.steps, self.epochs * len(forget)))

                # One forward pass for both batches.
                outputs = student(concatenate(forget_batch, retain_batch))
                forgotten, retained = split(outputs, len(forget_batch))
                terms = losses(
                    forgotten,
                    goal.of(forget_batch.row),
                    retained,
                    retain_original.of(retain_batch.row),
                )
                total = (terms * weights.to(terms)).sum()
                context.step(total, optimiser, clip=self.clip)
                means.add(terms, len(forget_batch))
            context.log.epochs.append(means.read())
        return student

    def rate(self, step: int, total: int) -> float:
        """Learning rate of a step, counted from 0."""
        rising = self.warmup * total
        if step < rising:
            return self.lr * (step + 1) / math.ceil(rising)

        # From the peak to 0 along a cosine.
        return self.lr * (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2

    def _partners(self, loaders: GuardedLoaders, seed: int, epoch: int) -> Ints:
        """For each forgotten row, the row whose report stands in."""
        rows = loaders.forget.rows
        if self.partners == "retain":
            return loaders.retain.random(epoch, len(rows))

        # Among the forgotten themselves, never within a patient.
        patients = loaders.forget.patients(rows)
        generator = numpy_generator(seed, "unlearn", "partners", epoch)
        return rows[derangement(patients, generator)]


def losses(forgotten: Outputs, goal: Outputs, retained: Outputs, original: Outputs) -> Tensor:
    """MD, MKR and UKR, Float[3], unweighted.

    Args:
        forgotten: The student's, of b forgotten pairs.
        goal: The original's embeddings of them, the joint one with a foreign report (see `decoupled`).
        retained: The student's, of retained pairs.
        original: The original's, of the same.
    """
    joint, joint_goal = embeddings(forgotten)[JOINT], embeddings(goal)[JOINT]
    retained_joint, original_joint = embeddings(retained)[JOINT], embeddings(original)[JOINT]
    unimodal, unimodal_goal = side_by_side(forgotten), side_by_side(goal)

    # Decoupling of the forgotten; retention of joint and of unimodal embeddings.
    md = nn.functional.mse_loss(joint, joint_goal)
    mkr = nn.functional.mse_loss(retained_joint, original_joint)
    ukr = nn.functional.mse_loss(unimodal, unimodal_goal)
    return torch.stack([md, mkr, ukr])


def complete(own: Mapping[str, Tensor], partners: Mapping[str, Tensor]) -> Tensor | None:
    """Which forgotten samples are pairs, and have a partner with a report: Bool[n]; None = all.

    Args:
        own: Who of the forgotten has each modality, see `GuardedLoader.present`.
        partners: The same of their partners.
    """
    missing = list(own.values())
    if TEXT in partners:
        missing.append(partners[TEXT])
    return torch.stack(missing).all(dim=0) if missing else None


@torch.no_grad()
def decoupled(
    teacher: NetModule, own: OutputTable, foreign: Outputs, pairs: Tensor | None = None
) -> OutputTable:
    """The original's outputs with the joint embedding of each image and a foreign report.

    Args:
        teacher: The frozen original.
        own: Its outputs of n pairs.
        foreign: Its outputs of n others, in the order of ``own``.
        pairs: Which of them can be untied; the others keep their joint embedding. None = all.
    """
    joint = teacher.joined({**own.outputs.embedding, TEXT: embeddings(foreign)[TEXT]})
    if pairs is not None:
        joint = joint.where(pairs[:, None], own.joint)
    return own.replaced(embedding={JOINT: joint})
