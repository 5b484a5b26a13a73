"""Amnesiac unlearning: take the forgotten patients' training steps back."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.ranges import Epochs
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.original import TrainingTask, watched
from forgetmi.unlearning.update_log import UpdateLog


@dataclass(frozen=True)
class Amnesiac:
    """Subtract every logged update that a forgotten patient had a part in, then repair on the retained.

    An `UpdateLog` records the original's training. Use it to study logging; with several
    images a patient and many epochs nearly every batch is affected, the subtraction throws the model back to where it
    began, and the repair is a short retraining. Later updates were computed at weights that the subtracted ones had
    moved, so this is no exact removal.

    Args:
        repair_epochs: Passes over the retain set with the original's recipe at its full learning rate throughout,
            >= 0; 0 leaves the difference as it is.
        buckets: Whose updates the log tells apart: request, those who are to be forgotten and the rest, enough where
            they are known before training, as in a study (three sums); patients, each from each, for any later request
            (a sum a step, gigabytes). What is subtracted is the same.

    Source: Graves et al. 2021 (arXiv 2010.10981), repository lmgraves/AmnesiacML (10 epochs of Adam as repair).
    Deviations: updates are logged by buckets of patients; the repair uses the original's recipe, for 8 epochs. Running
    batch statistics are no weights: they are neither logged nor subtracted, as in the repository, and are learned again
    by the repair alone. The forget set is read for its row numbers only.

    Examples:
        >>> method = Amnesiac(repair_epochs=4)
        >>> method.repair_epochs, method.info.exact
        (4, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'recipe', 'retain', 'training log']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Amnesiac",
        paper="Graves et al., AAAI 2021, arXiv 2010.10981",
        summary="Every training step in which a forgotten patient took part is taken back, from a log kept during "
        "training, and the damage is repaired with everyone else's data.",
        reads=frozenset({"forget", "retain", "labels", "recipe", "training log"}),
        exact=False,
        cost="1 of the repair; the subtraction is free",
        suits="studies of training logs; not available for a model that was trained without one",
        original=watched(lambda method, task: method.recorder(task), UpdateLog.load),
        search={"repair_epochs": (1, 2, 3, 4, 5, 6, 8, 10)},
    )
    moves: ClassVar[Moves] = "stored weights"

    repair_epochs: Epochs = 8
    buckets: Literal["request", "patients"] = "request"

    def recorder(self, task: TrainingTask) -> UpdateLog:
        """The recorder of the original's training."""
        if self.buckets == "patients":
            return UpdateLog(task.patient, folder=task.log)

        # Two buckets: 1 = to be forgotten, 0 = the rest.
        forgotten = np.isin(np.arange(len(task.patient)), task.forget)
        return UpdateLog(forgotten.astype(np.int64), folder=task.log)

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        log = context.training_log
        if not isinstance(log, UpdateLog):
            raise MethodError(
                Fault(
                    "Amnesiac needs the log of the original's training",
                    do="Train it with forgetmi train --method amnesiac, or in Python with train_original.",
                )
            )

        # Take the forgotten patients' steps back.
        rows = loaders.forget.rows
        student = copy.deepcopy(model)
        subtract(student, log.updates(rows))
        context.facts["steps taken back"] = sum(
            log.steps[buckets] for buckets in log.affected(rows)
        )
        context.facts["steps logged"] = sum(log.steps.values())

        # The next request finds a log without them.
        context.keep_log(log.without(rows))

        # Repair at the full learning rate throughout.
        repair = replace(context.recipe, epochs=self.repair_epochs, warmup=0.0, decay=0.0)
        return context.train(student, loaders.retain, recipe=repair)


@torch.no_grad()
def subtract(model: NetModule, updates: Iterable[Tensor]) -> None:
    """Take updates back, in place.

    Args:
        model: Of the architecture that was logged.
        updates: Float[parameters] each, in the order of ``model.parameters()``.

    Raises:
        MethodError: The log is of another architecture.
    """
    parameters = list(model.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    device = parameters[0].device

    for update in updates:
        if update.numel() != sum(sizes):
            raise MethodError(
                Fault(
                    "the training log is of another architecture",
                    why=f"{update.numel()} weights logged, {sum(sizes)} in the model",
                )
            )

        # One vector, cut into the parameters' parts.
        parts = update.to(device).split(sizes)
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.sub_(part.view_as(parameter))
