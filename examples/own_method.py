"""A method of your own: one class; here, in this process only. A package registers it with one entry-point line:

    [project.entry-points."forgetmi.methods"]
    last_head = "my_package:LastHead"
"""

import copy
from dataclasses import dataclass
from typing import ClassVar

import forgetmi
from forgetmi.methods.base import MethodInfo
from forgetmi.methods.steps import adamw
from forgetmi.model.losses import base_loss
from forgetmi.model.train import Recipe
from forgetmi.registry import methods


@dataclass(frozen=True)
class LastHead:
    """Fine-tune the image head alone on retained patients."""

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Last head", paper="an example", summary="Trains the image head a little further on everyone else.",
        reads=frozenset({"retain", "labels"}), exact=False, cost="1", suits="learning how to write a method")

    epochs: int = 1
    lr: float = 1e-3

    def apply(self, model, loaders, context):
        student = copy.deepcopy(model).requires_grad_(False)
        student.img_model.fc1.requires_grad_(True)
        optimiser = adamw(student, lr=self.lr)
        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            for batch in loaders.retain.epoch(epoch):
                context.step(base_loss(student(batch), batch, ordinal=context.ordinal).total, optimiser)
        return student


methods.add("last_head", LastHead)
cohort = forgetmi.load_cohort("synthetic", patients=30, seed=0)
sets = forgetmi.partition(cohort, forget=10.0, seed=0)
data = forgetmi.prepare(cohort=cohort, partition=sets, min_patients=2)
original, _ = forgetmi.train(prepared=data, partition=sets, recipe=Recipe(epochs=1))
done = forgetmi.unlearn(prepared=data, partition=sets, model=original, method=methods.get("last_head")())
print(done.trace.changed)
methods.remove("last_head")
