"""NegGrad: gradient ascent on the forgotten patients, until they look like validation patients."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.label_matched import matched_mean, per_sample
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_mode
from forgetmi.unlearning.losses import classification


@dataclass(frozen=True)
class NegGrad:
    """Climb the cross-entropy of both heads on the forgotten patients; no retained patient is read.

    Use it where retained data are no longer at hand and a loss of quality is acceptable. Going too far is itself
    detectable, hence the stop rule.

    Args:
        epochs: Most passes over the forget set, >= 0.
        lr: Learning rate of AdamW, > 0; 1e-5 to 1e-4 is sensible.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        stop: validation ends the run after the step at which the image head's mean cross-entropy on the forget set
            has reached the original's on validation patients of the same mix of labels (one step at least); never
            runs all epochs, and is unbounded.
        bn: Batch-norm statistics: eval (kept) or train (updated on forgotten patients, as the repositories do).

    Source: Golatkar et al. 2020 (arXiv 1911.04933); repositories Unlearn-Saliency (``GA.py``: rate 0.01, 10 epochs,
    which destroys most models) and MultiDelete (1 epoch of minus the loss). Deviations: AdamW with clipping; the
    ranking loss is not climbed, because its hinge depends on batch mates and is unbounded in the embeddings' length;
    the stop rule is ours. Its target is the original's loss, not the current model's, which grows with the damage. It
    reads the image head alone, whose predictions are reported: figures measured with it rest on that, so that it stays,
    while the rules of SCRUB+R and LoTUS read all heads. The text head may therefore end before or beyond its own
    target; read its lines of the audit.

    Examples:
        >>> method = NegGrad(stop="never")
        >>> method.stop, method.info.exact
        ('never', False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'teacher', 'validation']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="NegGrad",
        paper="Golatkar et al., CVPR 2020, arXiv 1911.04933",
        summary="Pushes the model towards wrong answers on the forgotten patients until it does no better on them than "
        "on patients it never saw.",
        reads=frozenset({"forget", "validation", "labels", "teacher"}),
        exact=False,
        cost="|forget| / |retain|; with the stop rule one more forward pass over the forget set a step",
        suits="withdrawals where the retained patients' data are gone and some loss of quality is acceptable",
        own_epochs=True,
        search={"lr": (3e-5, 1e-4, 3e-4), "epochs": (2, 5, 10)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})

    epochs: Epochs = 2
    lr: LearningRate = 1e-4
    weight_decay: Weight = 0.01
    clip: Weight = 1.0
    stop: Literal["validation", "never"] = "validation"
    bn: Literal["eval", "train"] = "eval"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The loss that the forget set is to reach.
        target = self._target(model, loaders, context.task)

        def objective(batch: Batch) -> dict[str, Tensor]:
            loss = classification(
                student(batch), batch.label, task=context.task, present=batch.present
            )
            return {"forget": -loss}

        def reached() -> bool:
            return target is not None and _mean(student, loaders, context.task) >= target

        # The rule is checked after each step, and the run ends with the epoch in which it stopped one.
        for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
            set_mode(student, self.bn)
            batches = loaders.forget.epoch(epoch)
            means = minimise(batches, objective, optimiser, context, clip=self.clip, stop=reached)
            context.log.epochs.append(means)

            # Measured once more, on the epoch's last state.
            if reached():
                break

        if target is not None:
            context.facts["target cross-entropy"] = target
            context.facts["reached"] = _mean(student, loaders, context.task)
            context.facts["stopped"] = reached()
        return student

    def _target(self, model: NetModule, loaders: GuardedLoaders, task: Task) -> float | None:
        """The original's mean cross-entropy on validation patients of the same mix of labels; None = no rule."""
        if self.stop == "never":
            return None
        forget_label, _ = per_sample(model, loaders.forget, "cross_entropy", task=task)
        label, loss = per_sample(model, loaders.validation, "cross_entropy", task=task)
        return matched_mean(label, loss, forget_label)


def _mean(student: NetModule, loaders: GuardedLoaders, task: Task) -> float:
    """The image head's mean cross-entropy on the forget set."""
    _, loss = per_sample(student, loaders.forget, "cross_entropy", task=task)
    return float(loss.double().mean())
