"""Consensus: give a forgotten sample the original's outputs for it, averaged over augmentations."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Draws, Epochs, LearningRate, Positive, Share, Weight
from forgetmi.data.noise import Perturbation
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.averaged_embeddings import average_over_augmentations
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.distillation import distil
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.teacher import frozen, outputs_of


@dataclass(frozen=True)
class Consensus:
    """Distil each forgotten sample's mean embedding over shifted images and noised reports into the model.

    Use it where no validation patients with labels are at hand; it keeps how hard a patient is, but leaves the part of
    the memory that survives the changes. With them, calibrated_consensus forgets more.

    Args:
        draws: Changed copies of each forgotten sample, >= 1.
        shift: Largest shift of the image per axis as a share of its side, 0 to 1.
        text_level: Probability that a word of the report is changed, 0 to 1.
        epochs: Passes over the forget set.
        batch_size: Forgotten images a step, and as many retained ones, >= 1; at most the run's own batch size.
        lr: Learning rate of AdamW on the image encoder; it falls to 0 over the second half of the epochs.
        text_lr_factor: Learning rate of the text encoder as a multiple of lr.
        weight_decay: Weight decay (none on biases and norm layers).
        clip: Largest gradient norm, 0 = none.

    Source: ours. The target is the mean of the draws, rescaled to their mean norm: without that the averaged embedding
    is shorter and the forgotten look less certain than patients never trained on do.

    Examples:
        >>> method = Consensus(draws=4)
        >>> method.draws, method.info.exact
        (4, False)
        >>> sorted(method.info.reads)
        ['forget', 'retain', 'teacher']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Consensus",
        paper="forgetmi, docs/calibrated_consensus.md",
        summary="Gives the model, for each forgotten image and report, its average output for changed copies, where "
        "what it memorised no longer fits, while other patients' embeddings stay where they were.",
        reads=frozenset({"forget", "retain", "teacher"}),
        reads_signals=True,
        exact=False,
        cost="2 x |forget| / |retain|, and once up to 1/3 for the teacher and a third of draws x |forget| / |retain|",
        suits="small cohorts without labelled validation patients; use calibrated_consensus where there are some",
        own_epochs=True,
        search={
            "lr": (2e-4, 5e-4, 1e-3),
            "epochs": (10, 20, 30),
            "shift": (2 / 64, 4 / 64, 8 / 64),
        },
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings", "noise"})
    moves: ClassVar[Moves] = "embeddings"

    draws: Draws = 12
    shift: Share = 0.125
    text_level: Share = 0.4
    epochs: Epochs = 10
    batch_size: Draws = 8
    lr: LearningRate = 2e-4
    text_lr_factor: Positive = 4.0
    weight_decay: Weight = 0.01
    clip: Weight = 5.0

    def __post_init__(self) -> None:
        # Each option in its range.
        faults: list[Fault] = []
        for name, value in (("draws", self.draws), ("batch_size", self.batch_size)):
            if value < 1:
                faults.append(Fault(f"{name} is {value}", do="Choose 1 or more."))
        if faults:
            raise SpecError(faults)

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        if self.epochs == 0:
            return copy.deepcopy(model)

        # The goal: the original's embeddings, averaged over augmentations and rescaled.
        teacher, forget = frozen(model), loaders.forget
        augmentations = [
            Perturbation(shift=self.shift, text_level=self.text_level, seed=context.seed, draw=draw)
            for draw in range(self.draws)
        ]
        averaged = average_over_augmentations(teacher, forget, forget.rows, augmentations)
        clean = outputs_of(teacher, forget, forget.rows, context.cached)
        goal = clean.replaced(embedding=averaged.rescaled)

        # Train the encoders towards the goal.
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
        )
