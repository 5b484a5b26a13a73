"""Rewind: go back to an early checkpoint of the original's training and go on with the retained patients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, Share
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.batch_statistics import reset_statistics
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.early_checkpoints import (
    EarlyCheckpoints,
    allowed,
    restored,
)
from forgetmi.unlearning.echo import echo
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.original import TrainingTask, watched
from forgetmi.unlearning.schedule import passes, shortened


@dataclass(frozen=True)
class Rewind:
    """Restart from a checkpoint that the original's training kept early, and train it on the retained alone.

    Use it where such a checkpoint can be kept: what is learnt first is about everyone, and a patient's own
    traces come later. The forgotten are never read.

    **The checkpoint saw the forgotten.** It is used only where its loss hardly tells trained patients from others
    (its echo), measured on retained patients, who took part in it as the forgotten did; of several the latest such one,
    and where none is, the untrained model, which makes it an exact short retraining. The training log that is returned
    holds no state that saw the forgotten: the old one must be destroyed, and the record names both.

    Args:
        kept: After which epochs the original's training keeps a checkpoint, each >= 1; none once the learning rate has
            begun to fall (a later one becomes the last before). Empty = the untrained model alone. Part of how the
            original is trained.
        largest_echo: Largest AUC of the checkpoint's loss, between retained and validation patients of the same label,
            .5 to 1; with 1 nothing is measured and no validation patient read.
        train_epochs: Passes over the retain set, >= 1; None = three eighths of the recipe's.
        warmup: Share of the steps with rising learning rate, 0 to 1.
        decay: Share of the steps with falling learning rate, 0 to 1; at most 1 together with warmup.
        renew: Whether new early checkpoints are made for the next request, from the untrained model on the retained
            alone, as many epochs as the latest kept one has; else the next request starts from the untrained model.

    Source: Mu and Klabjan, NeurIPS 2025 (arXiv 2409.09778), without their noise and so without their certificate.
    Deviations: the optimiser's moments are kept, too; batch statistics are reset; the rest of the training is
    shortened; the checkpoint is chosen by its echo on the retained, so that the forgotten are not read; renewal. With
    the untrained model, all epochs, and the recipe's own warm-up and decay it is Retrain.

    Examples:
        >>> method = Rewind(kept=(1, 2))
        >>> method.kept, method.info.exact
        ((1, 2), False)
        >>> sorted(method.info.reads)
        ['labels', 'recipe', 'retain', 'training log', 'validation']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Rewind",
        paper="Mu and Klabjan, NeurIPS 2025, arXiv 2409.09778",
        summary="Training goes back to a state kept near its beginning, and on from there with everyone else's data.",
        reads=frozenset({"retain", "validation", "labels", "recipe", "training log"}),
        exact=False,
        cost="1 of train_epochs, and as many more as are renewed",
        suits="models trained with withdrawals in mind, with all retained data at hand",
        original=watched(lambda method, task: method.recorder(task), EarlyCheckpoints.load),
        search={"train_epochs": (None, 4, 8), "decay": (0.35, 0.5)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    moves: ClassVar[Moves] = "stored weights"

    kept: tuple[Epochs, ...] = (2,)
    largest_echo: Share = 0.60
    train_epochs: Epochs | None = None
    warmup: float = 0.0
    decay: float = 0.5
    renew: bool = True

    def __post_init__(self) -> None:
        if self.train_epochs == 0 or any(epoch < 1 for epoch in self.kept):
            raise MethodError(
                Fault("train_epochs and each of kept must be at least 1", where="rewind")
            )

    def recorder(self, task: TrainingTask) -> EarlyCheckpoints:
        """The recorder of the original's training."""
        return EarlyCheckpoints(allowed(self.kept, task.recipe))

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        log = context.training_log
        if not isinstance(log, EarlyCheckpoints):
            raise MethodError(
                Fault(
                    "Rewind needs the early checkpoints of the original's training",
                    do="Train it with forgetmi train --method rewind, or in Python with train_original.",
                )
            )

        # The latest checkpoint that hardly tells whom it has seen.
        epoch = self._choose(model, log, loaders, context)
        context.facts["restarted after epoch"] = epoch
        state = log.state(epoch)
        student = restored(model, state)
        reset_statistics(student)

        epochs = passes(self.train_epochs, context.recipe, share=0.375)
        recipe = shortened(context.recipe, epochs=epochs, warmup=self.warmup, decay=self.decay)
        context.train(student, loaders.retain, recipe=recipe, moments=state["moments"])

        # The next request finds no state that saw the forgotten.
        context.keep_log(self._renewed(model, log, loaders, context))
        return student

    def _choose(
        self,
        model: NetModule,
        log: EarlyCheckpoints,
        loaders: GuardedLoaders,
        context: Context,
    ) -> int:
        """The epoch to go back to; 0 = the untrained model."""
        measured: dict[str, float] = {}
        context.facts["echo after each epoch"] = measured
        for epoch in sorted(log.states, reverse=True):
            # The untrained model saw nobody.
            if epoch == 0 or self.largest_echo >= 1:
                return epoch

            # As many retained as validation patients' images; they took part as the forgotten did.
            rows = loaders.retain.random(
                0, min(len(loaders.validation.rows), len(loaders.retain.rows))
            )
            early = restored(model, log.state(epoch))
            found = echo(early, loaders.retain, loaders.validation, rows=rows, task=context.task)
            measured[str(epoch)] = found
            if found <= self.largest_echo:
                return epoch
        raise MethodError(Fault("the training log holds no checkpoint"))

    def _renewed(
        self,
        model: NetModule,
        log: EarlyCheckpoints,
        loaders: GuardedLoaders,
        context: Context,
    ) -> EarlyCheckpoints:
        """A log of states that saw the retained alone."""
        epochs = max(log.states)
        if not self.renew or epochs == 0:
            context.facts["early checkpoints that saw the forgotten"] = "left out of the new log"
            return log.replaced({})

        # The first epochs of the original's training, at the learning rates they had there.
        recipe = context.recipe
        warmup = min(1.0, recipe.warmup * recipe.epochs / epochs)
        beginning = replace(recipe, epochs=epochs, warmup=warmup, decay=0.0)
        recorder = EarlyCheckpoints(log.states)
        context.train(
            restored(model, log.state(0)),
            loaders.retain,
            recipe=beginning,
            observers=[recorder],
            resumable=False,
        )
        context.facts["early checkpoints that saw the forgotten"] = "renewed on the retained"
        states = {epoch: state for epoch, state in recorder.states.items() if epoch > 0}
        return log.replaced(states)
