"""DELETE: predict as the original would if the true class did not exist, reading the forgotten alone."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import each_head
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_mode
from forgetmi.unlearning.teacher import frozen, outputs_of


@dataclass(frozen=True)
class Delete:
    """Distil from the original on the forget set, with the probability of each sample's own class taken away.

    Use it where only the forgotten patients' data are at hand, as the baseline of that situation. It was made to remove
    whole classes: for single patients it drives their accuracy below that of patients never seen, which gives them
    away; ``truth`` softens that.

    Args:
        truth: Probability the target leaves to the true class, 0 to below 1: 0 is the authors' method; about the
            classes' shares in the population is softer.
        epochs: Passes over the forget set, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0; no other data would repair what it costs.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated, on the forgotten).

    Source: Zhou et al. 2025 (arXiv 2503.23751), repository shaaaaron/DELETE (SGD, momentum 0.9, rate 1e-4, 20 epochs,
    batches of 128). Deviations: both heads; AdamW with clipping; fewer epochs; ``truth``; samples of unknown label are
    left out.

    Examples:
        >>> method = Delete(truth=0.25)
        >>> method.truth, method.info.exact
        (0.25, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'teacher']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="DELETE",
        paper="Zhou et al., CVPR 2025, arXiv 2503.23751",
        summary="The model gives up the right answer for each forgotten patient and keeps the original's opinion about "
        "all other answers.",
        reads=frozenset({"forget", "labels", "teacher"}),
        reads_signals=True,
        exact=False,
        cost="|forget| / |retain|, and 1/3 of that once",
        suits="withdrawals where only the forgotten patients' data are at hand",
        own_epochs=True,
        search={"lr": (2e-5, 5e-5, 1e-4, 2e-4), "epochs": (3, 5, 10)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"states"})

    truth: float = 0.0
    epochs: Epochs = 5
    lr: LearningRate = 2e-5
    weight_decay: Weight = 0.0
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def __post_init__(self) -> None:
        if not 0 <= self.truth < 1:
            raise MethodError(
                Fault("truth must be in [0, 1)", where="delete", why=f"got {self.truth}")
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        forget = loaders.forget

        # The targets: the original's outputs for the forgotten.
        original = outputs_of(frozen(model), forget, forget.rows, context.cached)

        def objective(batch: Batch) -> dict[str, Tensor]:
            return self._terms(student(batch), original.of(batch.row), batch, context.task)

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)

            # One pass over the forget set; no other data are read.
            means = minimise(forget.epoch(epoch), objective, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)
        return student

    def _terms(
        self, outputs: Outputs, original: Outputs, batch: Batch, task: Task
    ) -> dict[str, Tensor]:
        """Divergence of each head from the original without the true class."""

        def of_head(logits: Tensor, target: Tensor, label: Tensor) -> Tensor:
            return task.distance_without_truth(logits, target, label, truth=self.truth)

        return each_head(of_head, outputs, original, along=[batch.label], present=batch.present)
