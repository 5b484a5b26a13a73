"""Short retrain: the cheapest exact answer, and the yardstick of every cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.schedule import passes, shortened


@dataclass(frozen=True)
class ShortRetrain:
    """Train a fresh model on the retained patients in as few epochs as reach the original's quality.

    Use it before any other method: many recipes go on long after a model has learnt what it will, and a method that
    costs more than the shortest training of equal quality is not worth its risk. Its cost is what the tables call the
    cheapest exact retraining.

    Args:
        train_epochs: Passes over the retain set, >= 1; None = three eighths of the recipe's. A benchmark of several
            lengths finds the fewest whose validation AUC is within .01 of the original's (docs/benchmark.md).
        warmup: Share of the steps with rising learning rate, 0 to 1.
        decay: Share of the steps with falling learning rate, 0 to 1; at most 1 together with warmup.

    Source: the definition of exact unlearning; the rule for the number of epochs is ours. With the recipe's own epochs,
    warm-up and decay it is Retrain with another seed, one that is never the original's own.

    Examples:
        >>> method = ShortRetrain(train_epochs=8)
        >>> method.train_epochs, method.info.exact
        (8, True)
        >>> sorted(method.info.reads)
        ['fresh model', 'labels', 'recipe', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Short retrain",
        paper="definition (exact unlearning), in fewer epochs",
        summary="A new model is trained from the start on everyone else's data, no longer than it needs to become as "
        "good as the old one.",
        reads=frozenset({"retain", "labels", "recipe", "fresh model"}),
        exact=True,
        cost="1 (train_epochs of them)",
        suits="whoever has all retained data at hand; the yardstick of every other cost",
        search={"train_epochs": (None, 4, 8)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"fresh"})
    moves: ClassVar[Moves] = "afresh"

    train_epochs: Epochs | None = None
    warmup: float = 0.0
    decay: float = 0.5

    def __post_init__(self) -> None:
        if self.train_epochs == 0:
            raise MethodError(Fault("train_epochs must be at least 1", where="short_retrain"))

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        epochs = passes(self.train_epochs, context.recipe, share=0.375)
        recipe = shortened(context.recipe, epochs=epochs, warmup=self.warmup, decay=self.decay)
        fresh = context.fresh_model(context.fresh_seed)
        return context.train(fresh, loaders.retain, recipe=recipe, seed=context.fresh_seed)
