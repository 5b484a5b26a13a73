"""Bad Teaching: distil from an untrained model on the forgotten, from the original on the others."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.core.seeding import derive
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_mode, split
from forgetmi.unlearning.losses import head_distillation
from forgetmi.unlearning.mixed import forgotten, mixed, portion
from forgetmi.unlearning.teacher import OutputTable, frozen, outputs_of, tabulate


@dataclass(frozen=True)
class BadTeaching:
    """Distil both heads: from a randomly initialised model on the forgotten, from the original on some retained.

    Use it where no labels may be read. The bad teacher is not a retrained model: its near-uniform outputs for the
    forgotten can give them away, so audit for over-forgetting.

    Args:
        fraction: Share of the retained images that takes part, above 0 to 1, drawn once.
        temperature: Temperature of the distillation, > 0.
        epochs: Passes over the forgotten and that part of the retained, shuffled together, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated, on the forgotten as well, as the authors do).

    Source: Chundawat et al. 2023 (arXiv 2205.08096), repository bad-teaching-unlearning (``blindspot_unlearner``: 30 %
    of the retained, temperature 1, 1 epoch of Adam, rate 1e-4, batches of 256). Deviations: the divergence is averaged
    over the samples, while the repository's also divides by the number of classes; AdamW with clipping; rate
    and epochs tuned (docs/tuning.md). A pretrained text encoder is pretrained in the bad teacher, too. The paper's
    metric (ZRF, likeness to a random model) is left out: the aim is a retrained model, which is none (gap, JSf).

    Examples:
        >>> method = BadTeaching(temperature=2.0)
        >>> method.temperature, method.info.exact
        (2.0, False)
        >>> sorted(method.info.reads)
        ['forget', 'fresh model', 'retain', 'teacher']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Bad Teaching",
        paper="Chundawat et al., AAAI 2023, arXiv 2205.08096",
        summary="Makes the model answer about the forgotten patients like one that has learned nothing, and like the "
        "original about everyone else.",
        reads=frozenset({"forget", "retain", "teacher", "fresh model"}),
        reads_signals=True,
        exact=False,
        cost="fraction + |forget| / |retain|, and 1/3 of that once for the teachers",
        suits="comparisons; withdrawals where labels are not at hand",
        own_epochs=True,
        search={"lr": (1e-4, 3e-4, 1e-3), "epochs": (3, 5, 10), "fraction": (0.1, 0.3)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"fresh", "predictions"})

    fraction: float = 0.3
    temperature: float = 1.0
    epochs: Epochs = 3
    lr: LearningRate = 1e-3
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def __post_init__(self) -> None:
        if not (0 < self.fraction <= 1 and self.temperature > 0):
            raise MethodError(
                Fault("fraction must be in (0, 1] and temperature above 0", where="bad_teaching")
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The part of the retained images that takes part.
        forget, retain = loaders.forget, loaders.retain
        count = max(1, round(self.fraction * len(retain.rows)))
        retain_rows = np.sort(retain.random(0, count))

        # Never the original's own initial weights, even where both were made with one root seed.
        seed = derive(context.seed, "unlearn", "incompetent teacher")
        incompetent = frozen(context.fresh_model(seed))

        # Both teachers' outputs are computed once.
        bad = tabulate(incompetent, forget.batches(forget.rows))
        good = outputs_of(frozen(model), retain, retain_rows, context.cached)

        def objective(batch: Batch) -> dict[str, Tensor]:
            first = forgotten(batch, forget.rows)
            return self._terms(student, batch, first, bad, good, context.task)

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)

            # Both sets, shuffled together.
            batches = mixed(loaders, retain_rows, seed=context.seed, epoch=epoch)
            means = minimise(batches, objective, optimiser, context, clip=self.clip)
            context.log.epochs.append(means)
        return student

    def _terms(
        self,
        student: NetModule,
        batch: Batch,
        first: int,
        bad: OutputTable,
        good: OutputTable,
        task: Task,
    ) -> dict[str, Tensor]:
        """Mean divergence over a batch, as the parts of both sets; the first samples are the forgotten."""
        forget_outputs, retain_outputs = split(student(batch), first)

        def forget_loss() -> Tensor:
            forgotten = batch.select(slice(first))
            return self._divergence(forget_outputs, bad.of(forgotten.row), forgotten, task)

        def retain_loss() -> Tensor:
            retained = batch.select(slice(first, None))
            return self._divergence(retain_outputs, good.of(retained.row), retained, task)

        return {
            "forget": portion(forget_loss, first, batch),
            "retain": portion(retain_loss, len(batch) - first, batch),
        }

    def _divergence(self, outputs: Outputs, teacher: Outputs, batch: Batch, task: Task) -> Tensor:
        """Distillation from a teacher, added over the heads."""
        return head_distillation(
            outputs, teacher, task=task, temperature=self.temperature, present=batch.present
        )
