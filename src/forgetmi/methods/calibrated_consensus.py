"""Calibrated consensus: average the memory out, then transport onto the outputs for validation patients."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.labels import known
from forgetmi.core.net import Need
from forgetmi.core.ranges import Draws, Epochs, LearningRate, Number, Positive, Weight
from forgetmi.core.serialization import LATER
from forgetmi.core.task import Space
from forgetmi.data.noise import augmentation
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.averaged_embeddings import Mean, average_over_augmentations
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.distillation import distil
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.teacher import OutputTable, frozen, outputs_of
from forgetmi.unlearning.transport import Transport, fit_transport

# Where the goals of the forgotten come from
Target = Literal["average", "pool", "both"]

# Labelled validation images below which the calibration got clearly worse in development.
FEW = 75


@dataclass(frozen=True)
class CalibratedConsensus:
    """Distil averaged embeddings that were transported, class by class, onto the outputs for validation patients.

    Averaging over mild augmentations removes most of what a model memorised of a sample. What remains is measured on
    retained patients, who are memorised exactly as well as the forgotten ones: the difference between their averaged
    outputs and the unchanged outputs for validation patients is a map (see `forgetmi.unlearning.transport`), and the
    map is applied to the forgotten. Neither a retrained model nor a holdout patient is read. See
    docs/calibrated_consensus.md.

    With ``target = "pool"`` it is not the averaged outputs that are transported but what models of a standing pool say
    that never saw the patient; the map then undoes what those models differ in from the original, such as their smaller
    training set. The directions that the head does not read keep their averaged values. What still links the student to
    a forgotten patient are members that left them out and saw others of the forgotten.

    A forgotten sample whose label is unknown gets its averaged output without transport: training never fitted it to a
    label. A class without validation samples is moved by the shift common to all classes.

    Args:
        draws: Changed copies of each sample, >= 1.
        text_level: Probability that a word of the report is changed, 0 to 1.
        sentences: Whether sentences of the report change places, too, and one is dropped with probability 0.3.
        members: Retained images the displacement is estimated on, drawn at random; 0 = all.
        covariance: Share of the covariance map that is applied, 0 (class means are shifted only) to 1.
        prior: Validation samples that the common shift and the shared covariance count for, >= 0.
        kl: Weight of the divergence of the predictions, added to the distance of the embeddings, 0 = none.
        epochs: Passes over the forget set.
        batch_size: Forgotten images a step, and as many retained ones, >= 1; at most the run's own batch size.
        lr: Learning rate of AdamW on the image encoder.
        target: average (the original's outputs, averaged), pool (outputs of a pool's members that never saw the
            patient), or both (the mean of the two, each transported).
        decay: Share of the epochs, at the end, over which it falls to 0; 0 = it stays.
        text_lr_factor: Learning rate of the text encoder as a multiple of lr.
        weight_decay: Weight decay (none on biases and norm layers).
        clip: Largest gradient norm, 0 = none.

    Source: ours.

    Examples:
        >>> method = CalibratedConsensus(draws=4)
        >>> method.draws, method.info.exact
        (4, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'pool', 'retain', 'teacher', 'validation']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Calibrated consensus",
        paper="forgetmi, docs/calibrated_consensus.md",
        summary="Makes the model treat each forgotten patient as it treats patients it never saw: how it treats those "
        "differently from the ones it remembers is measured on other patients and undone on the forgotten.",
        reads=frozenset({"forget", "retain", "validation", "labels", "teacher", "pool"}),
        reads_signals=True,
        exact=False,
        cost="2 x |forget| / |retain|, and once up to 1/3 for the teacher and a third of draws x "
        "(|forget| + members) / |retain|",
        suits="withdrawals where the training data and about a hundred labelled never-trained images are at hand",
        own_epochs=True,
        search={"lr": (5e-4, 1e-3), "kl": (0.0, 1.0, 4.0), "batch_size": (4, 8)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"own heads", "noise", "states"})
    moves: ClassVar[Moves] = "embeddings"

    draws: Draws = 8
    text_level: float = 0.1
    sentences: bool = False
    members: Number = 200
    covariance: float = 1.0
    prior: float = 5.0
    kl: float = 0.0
    epochs: Epochs = 20
    batch_size: Draws = 8
    lr: LearningRate = 5e-4
    decay: float = 0.5
    text_lr_factor: Positive = 4.0
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    target: Target = field(default="average", metadata=LATER)

    def __post_init__(self) -> None:
        # Each option in its range.
        rules = {
            "draws must be at least 1": self.draws >= 1,
            "members must be at least 0": self.members >= 0,
            "covariance must be in [0, 1]": 0 <= self.covariance <= 1,
            "text_level must be in [0, 1]": 0 <= self.text_level <= 1,
            "decay must be in [0, 1]": 0 <= self.decay <= 1,
            "prior must be at least 0": self.prior >= 0,
            "kl must be at least 0": self.kl >= 0,
            "batch_size must be at least 1": self.batch_size >= 1,
            "target must be average, pool or both": self.target in ("average", "pool", "both"),
        }
        faults = [
            Fault(rule, where="calibrated consensus") for rule, holds in rules.items() if not holds
        ]
        if faults:
            raise SpecError(faults)

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        if self.epochs == 0:
            return copy.deepcopy(model)
        if not len(loaders.validation.rows):
            raise MethodError(
                Fault(
                    "there are no validation patients",
                    why="the transport is fitted on them",
                    do="Set a validation share, or use the method consensus, which needs none.",
                )
            )

        # Whether there is a pool is known before anything is computed
        if self.target != "average":
            context.facts["members of the pool"] = len(context.pool.members)

        # Where the forgotten samples are, and where they shall be.
        teacher = frozen(model)
        clean = outputs_of(teacher, loaders.forget, loaders.forget.rows, context.cached)
        goal = self._goal(teacher, clean, loaders, context)

        # Train the encoders towards the goals.
        return distil(
            model,
            teacher,
            clean=clean,
            goal=goal,
            loaders=loaders,
            context=context,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            text_lr_factor=self.text_lr_factor,
            weight_decay=self.weight_decay,
            clip=self.clip,
            kl=self.kl,
            decay=self.decay,
        )

    def _goal(
        self, teacher: NetModule, clean: OutputTable, loaders: GuardedLoaders, context: Context
    ) -> OutputTable:
        """The outputs that the student is to have for the forgotten."""
        forget, retain, validation = loaders.forget, loaders.retain, loaders.validation
        augmentations = [
            augmentation(
                text_level=self.text_level, sentences=self.sentences, seed=context.seed, draw=draw
            )
            for draw in range(self.draws)
        ]

        # Averaged outputs for the forgotten and for retained members; unchanged ones for validation.
        forgotten = average_over_augmentations(teacher, forget, forget.rows, augmentations)
        count = min(self.members or len(retain.rows), len(retain.rows))
        member_rows = np.sort(retain.random(0, count))
        members = average_over_augmentations(teacher, retain, member_rows, augmentations)
        reference = average_over_augmentations(teacher, validation, validation.rows, [None])
        label = forgotten.label.cpu().numpy()
        member_label = members.label.cpu().numpy()
        reference_label = reference.label.cpu().numpy()

        # Each modality for itself.
        goal: dict[str, Tensor] = {}
        goal_logits: dict[str, Tensor] = {}
        for name, head in teacher.heads.items():
            forgotten_mean = forgotten.means[name]
            member_mean = members.means[name]
            reference_mean = reference.means[name]

            # The transport, in the coordinates that the head reads, of the samples that have the modality.
            space = context.task.space(head)
            member, held_out = members.there(name).numpy(), reference.there(name).numpy()
            if not (member.any() and held_out.any()):
                raise _nobody(name)
            goals: list[Floats] = []
            for source in _sources(self.target):
                transport = fit_transport(
                    _outputs(source, name, space, member_mean, member_rows, context)[member],
                    space.cells(member_label)[member],
                    space.coordinates(reference_mean.vector)[held_out],
                    space.cells(reference_label)[held_out],
                    units=space.units,
                    prior=self.prior,
                )
                moved = transport.apply(
                    _outputs(source, name, space, forgotten_mean, forget.rows, context),
                    space.cells(label),
                    covariance=self.covariance,
                )
                goals.append(moved)
                shown = "" if source == "average" else " of the pool"
                context.facts[f"{name} transport{shown}"] = _facts(transport)

            # One goal stays as it is; of two the mean.
            coordinates = goals[0] if len(goals) == 1 else (goals[0] + goals[1]) / 2

            # The nearest embeddings with those coordinates, and the head's logits of them.
            transported = space.embedding(forgotten_mean.vector, coordinates)
            goal[name] = zeros_elsewhere(transported, forgotten.there(name))
            with torch.no_grad():
                logits = head(goal[name]).float()
            goal_logits[name] = zeros_elsewhere(logits, forgotten.there(name))

        context.facts["calibrated on"] = _counts(member_label, reference_label)

        # What is not transported, the joint embedding, stays the original's.
        return clean.replaced(embedding=goal, logits=goal_logits)


def _sources(target: Target) -> tuple[Target, ...]:
    """Whose outputs are transported."""
    return ("average", "pool") if target == "both" else (target,)


def _outputs(
    source: Target, name: str, space: Space, averaged: Mean, rows: Ints, context: Context
) -> Floats:
    """What one source says of some rows, in the coordinates that a head reads."""
    if source == "pool":
        return space.of_logits(context.pool.of(rows)[name])
    return space.coordinates(averaged.rescaled)


def _nobody(modality: str) -> MethodError:
    return MethodError(
        Fault(
            f"no retained or no validation sample has the modality {modality}",
            why="its embeddings are moved as theirs differ",
        )
    )


def zeros_elsewhere(values: Tensor, there: Tensor) -> Tensor:
    """Rows that are there, and zeros in the others, as models say nothing of what is absent."""
    there = there.to(values.device)
    return values if bool(there.all()) else values.where(there[:, None], 0)


def _facts(transport: Transport) -> dict[str, Any]:
    # One number where the labels are one unit, a list where each finding has its own.
    common = list(transport.common)
    return {
        "common true-label shift in logits": common[0] if len(common) == 1 else common,
        "scale by direction": np.linalg.eigvalsh(transport.matrix).round(4).tolist(),
        "validation images by class": transport.rows.tolist(),
    }


def _counts(member_label: Any, validation_label: Any) -> dict[str, Any]:
    """Labelled samples that the transport was fitted on, and a remark where they are few."""
    members = int(known(member_label).sum())
    validation = int(known(validation_label).sum())

    # A rough calibration is still better than none, and is stated.
    remark = ""
    if validation < FEW:
        remark = f"fewer than {FEW} labelled validation images: a rough calibration"
    return {"members": members, "validation images": validation, "remark": remark}
