"""Shrink and perturb: mix the weights with fresh ones, then train on with the retained patients."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.mixture import mix
from forgetmi.unlearning.schedule import Schedule, scheduled


@dataclass(frozen=True)
class ShrinkPerturb:
    """Set each weight to ``keep`` of its own value plus the rest of a fresh model's, then repair on the retained.

    Use it as the strongest simple baseline: part of every memory is overwritten, and a few epochs bring the skill back
    from the retained patients alone. It needs all of them, and none of the forgotten.

    Args:
        keep: Share of the original weights, 0 to 1; 0 is a short retraining, 1 plain further training.
        repair_epochs: Passes over the retain set with the original's recipe, >= 0; 0 leaves the mixture as it is.
        schedule: Learning rate of the repair: constant (the full one throughout) or recipe (the recipe's warm-up and
            decay, over these epochs).

    Source: the mixing step of Ash & Adams 2020 (arXiv 1910.08475), who use it to warm-start training; Gaussian noise
    there is a fresh initialisation here, never the original's own. Running batch statistics are mixed in the same
    proportion and learned again by the repair; the gate is left alone, since it is fitted anew after every unlearning.

    Examples:
        >>> method = ShrinkPerturb(keep=0.4)
        >>> method.keep, method.info.exact
        (0.4, False)
        >>> sorted(method.info.reads)
        ['fresh model', 'labels', 'recipe', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Shrink and perturb",
        paper="after Ash & Adams, NeurIPS 2020, arXiv 1910.08475",
        summary="The model is moved part of the way towards an untrained one and then trained briefly on everyone "
        "else's data.",
        reads=frozenset({"retain", "labels", "recipe", "fresh model"}),
        exact=False,
        cost="1",
        suits="whoever has all retained data at hand and a third of the time a retraining takes",
        search={"keep": (0.4, 0.6, 0.8), "repair_epochs": (3, 5, 10)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"fresh"})
    moves: ClassVar[Moves] = "mixture"

    keep: float = 0.6
    repair_epochs: Epochs = 5
    schedule: Schedule = "constant"

    def __post_init__(self) -> None:
        if not 0 <= self.keep <= 1 or self.repair_epochs < 0:
            raise MethodError(
                Fault(
                    "keep must be in [0, 1] and repair_epochs at least 0",
                    where="shrink_perturb",
                    why=f"got {self.keep} and {self.repair_epochs}",
                )
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)

        # Mix with new weights, never those the original began with.
        fresh = context.fresh_model(context.fresh_seed)
        mix(student, fresh, keep=self.keep)

        # Repair with the retained alone.
        repair = scheduled(context.recipe, epochs=self.repair_epochs, schedule=self.schedule)
        return context.train(student, loaders.retain, recipe=repair, seed=context.fresh_seed)
