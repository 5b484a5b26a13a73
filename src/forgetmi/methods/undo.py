"""UNDO: a model that starts mostly afresh learns from the given one on the retained patients alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.heads import added, mean_of_those_there
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, Positive, Share, Weight
from forgetmi.model.losses import BaseLoss
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import unimodal
from forgetmi.unlearning.losses import head_distillation, normalised_distance
from forgetmi.unlearning.mixture import mix
from forgetmi.unlearning.schedule import Schedule, passes, scheduled
from forgetmi.unlearning.teacher import OutputTable, frozen, outputs_of


@dataclass(frozen=True)
class Undo:
    """Move the weights towards a fresh model's, then distil the given model into them with the retained alone.

    Use it where the retained data are at hand: the forgotten are never read, a whole share of the weights starts anew,
    and the given model's answers about other people make the training shorter than a retraining. To distil what another
    method made of the original, give its model as the one to be unlearned from.

    **What still links the student to the forgotten** are the teacher's soft answers about retained patients, which the
    forgotten had a part in, and with ``alpha`` below 1 the weights kept. Nothing of a forgotten patient's own image or
    report reaches the student otherwise.

    Args:
        alpha: Share of the fresh model in the weights the student starts from, 0 to 1; 1 = it starts anew.
        temperature: T of the distillation, > 0.
        kl: Weight of the distillation, over all heads, >= 0; 0 = not computed.
        labels: Whether the model's own training loss on the retained is part of the objective.
        embedding: Weight of the distance between the student's and the teacher's normalised embeddings, averaged over
            the modalities, >= 0; 0 = not computed.
        train_epochs: Passes over the retain set, >= 0; 0 leaves the mixture as it is, None = a quarter of the recipe's.
        schedule: Learning rate: recipe (the recipe's warm-up and decay, over these epochs) or constant.

    Source: Lee et al. 2025 (arXiv 2506.06278), who distil a suppressed language model into a noised copy of itself;
    repository AddieFoote/distillation-robustify-unlearning. Deviations: the teacher is the model that is given, by
    default the original, unsuppressed; fresh weights (public ones where the model has them) in place of scaled noise;
    several heads; the training loss beside the divergence. The teacher is in eval mode and sees unshifted images. With
    alpha 1 and labels alone it is Short retrain of the same schedule.

    Examples:
        >>> method = Undo(alpha=0.7)
        >>> method.alpha, method.info.exact
        (0.7, False)
        >>> sorted(method.info.reads)
        ['fresh model', 'labels', 'recipe', 'retain', 'teacher']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="UNDO",
        paper="Lee et al., NeurIPS 2025, arXiv 2506.06278",
        summary="A model that begins wholly or mostly anew learns from everyone else's data, and from what the old "
        "model predicts for them.",
        reads=frozenset({"retain", "labels", "recipe", "fresh model", "teacher"}),
        reads_signals=True,
        exact=False,
        cost="1, and 1/3 once for the teacher",
        suits="whoever has all retained data at hand and wants a model that never saw the forgotten's data",
        search={
            "alpha": (0.5, 0.7, 1.0),
            "temperature": (1.0, 2.0, 4.0),
            "train_epochs": (None, 3, 6),
        },
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"fresh", "predictions"})

    alpha: Share = 1.0
    temperature: Positive = 2.0
    kl: Weight = 1.0
    labels: bool = True
    embedding: Weight = 0.0
    train_epochs: Epochs | None = None
    schedule: Schedule = "recipe"

    def __post_init__(self) -> None:
        if not (self.labels or self.kl or self.embedding):
            raise MethodError(
                Fault(
                    "the student has nothing to learn",
                    where="undo",
                    do="Set labels, or kl above 0.",
                )
            )

    @property
    def moves(self) -> Moves:
        """All new weights, or a mixture of new and old ones."""
        return "afresh" if self.alpha == 1 else "mixture"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        retain = loaders.retain
        teacher = frozen(model)

        # Where the student starts: a new model, or between the two.
        fresh = context.fresh_model(context.fresh_seed)
        student = fresh
        if self.alpha < 1:
            student = copy.deepcopy(model)
            mix(student, fresh, keep=1 - self.alpha)

        # The teacher's outputs for the retained, where they are a goal.
        goal: OutputTable | None = None
        epochs = passes(self.train_epochs, context.recipe, share=0.25)
        if epochs and (self.kl or self.embedding):
            goal = outputs_of(teacher, retain, retain.rows, context.cached)

        recipe = scheduled(context.recipe, epochs=epochs, schedule=self.schedule)
        if goal is None:
            return context.train(student, retain, recipe=recipe, seed=context.fresh_seed)

        def objective(batch: Batch, outputs: Outputs, loss: BaseLoss) -> Tensor:
            return self._objective(outputs, goal.of(batch.row), loss, context, batch.present)

        return context.train(
            student, retain, recipe=recipe, seed=context.fresh_seed, objective=objective
        )

    def _objective(
        self,
        outputs: Outputs,
        goal: Outputs,
        loss: BaseLoss,
        context: Context,
        present: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The sum of the terms that have a weight."""
        present = present or {}
        terms: dict[str, Tensor] = {}
        if self.labels:
            terms["labels"] = loss.total

        if self.kl:
            divergence = head_distillation(
                outputs,
                goal,
                temperature=self.temperature,
                task=context.task,
                present=present,
            )
            terms["KL"] = self.kl * divergence

        # The mean over the modalities, whatever their number.
        if self.embedding:
            goals = unimodal(goal)
            distances = {
                name: mean_of_those_there(
                    normalised_distance, (values, goals[name]), present.get(name)
                )
                for name, values in unimodal(outputs).items()
            }
            terms["embedding"] = self.embedding * added(distances) / len(distances)
        return added(terms)
