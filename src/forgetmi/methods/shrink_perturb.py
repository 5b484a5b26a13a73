"""Shrink and perturb: mix the weights with fresh ones, then train on with the retained patients."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import JOIN, Need, Part
from forgetmi.core.ranges import Epochs
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.info import MethodInfo
from forgetmi.unlearning.loaders import GuardedLoaders


@dataclass(frozen=True)
class ShrinkPerturb:
    """Set each weight to ``keep`` of its own value plus the rest of a fresh model's, then repair on the retained.

    Use it as the strongest simple baseline: part of every memory is overwritten, and a few epochs bring the skill back
    from the retained patients alone. It needs all of them, and none of the forgotten.

    Args:
        keep: Share of the original weights, 0 to 1; 0 is a short retraining, 1 plain further training.
        repair_epochs: Passes over the retain set with the original's recipe at its full learning rate throughout,
            >= 0; 0 leaves the mixture as it is.

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

    keep: float = 0.6
    repair_epochs: Epochs = 5

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

        # Repair at the full learning rate throughout.
        repair = replace(context.recipe, epochs=self.repair_epochs, warmup=0.0, decay=0.0)
        return context.train(student, loaders.retain, recipe=repair, seed=context.fresh_seed)


@torch.no_grad()
def mix(student: NetModule, fresh: NetModule, *, keep: float) -> None:
    """Set every weight and running statistic but the gate's to ``keep`` x its own + ``(1 - keep)`` x the fresh one's.

    Args:
        student: Changed in place.
        fresh: Of the same architecture.
        keep: 0 to 1.
    """
    joining = student.parts().get(JOIN, Part(())).names
    fresh_values = fresh.state_dict()
    for name, value in student.state_dict().items():
        # Counters are no weights, and what joins the embeddings is fitted anew anyway.
        if value.is_floating_point() and name not in joining:
            value.mul_(keep).add_(fresh_values[name], alpha=1 - keep)
