"""Retrain: the exact answer, and the reference of every other method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from forgetmi.core.net import Need
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders


@dataclass(frozen=True)
class Retrain:
    """Train a fresh model on the retained patients with the original's recipe.

    Use it as the reference of every measurement (three seeds at least: their spread is the noise floor), and as the
    method itself when the cost is acceptable.

    Source: the definition of exact unlearning. The number of epochs is the original's, so there are fewer steps.

    Examples:
        >>> method = Retrain()
        >>> method.info.exact
        True
        >>> sorted(method.info.reads)
        ['fresh model', 'labels', 'recipe', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Retrain",
        paper="definition (exact unlearning)",
        summary="A new model is trained from the start on everyone else's data.",
        reads=frozenset({"retain", "labels", "recipe", "fresh model"}),
        exact=True,
        cost="1 (all epochs of the original training)",
        suits="whoever can afford it; the reference for all others",
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"fresh"})
    moves: ClassVar[Moves] = "afresh"

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        # What training without the forgotten patients would have been.
        return context.train(context.fresh_model(context.seed), loaders.retain)
