"""A method of your own."""

import copy
from dataclasses import dataclass
from typing import ClassVar

from forgetmi.core.ranges import Epochs, LearningRate
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loop import adamw, training_loss


@dataclass(frozen=True)
class LastHead:
    """Fine-tune the heads alone on retained patients."""

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Last head",
        paper="an example",
        summary="Trains the heads a little further on everyone else.",
        reads=frozenset({"retain", "labels"}),
        exact=False,
        cost="1/3",
        suits="learning how to write a method",
        own_epochs=True,
        search={"lr": (3e-4, 1e-3, 3e-3), "epochs": (1, 3)},
    )
    needs: ClassVar[frozenset[str]] = frozenset({"heads"})

    epochs: Epochs = 1
    lr: LearningRate = 1e-3

    def apply(self, model, loaders, context):
        # Everything is frozen but the heads.
        student = copy.deepcopy(model).requires_grad_(False)
        for head in student.heads.values():
            head.requires_grad_(True)
        optimiser = adamw(student, lr=self.lr)

        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            for batch in loaders.retain.epoch(epoch):
                context.step(training_loss(student, batch, context), optimiser)

        return student
