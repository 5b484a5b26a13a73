"""SSD: dampen, once, the weights that matter far more to the forgotten than to everyone; no training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.model.net_module import NetModule, branches
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.importance import Each, squared_gradients
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.masks import shares


@dataclass(frozen=True)
class SSD:
    """Selective synaptic dampening: where ``I_f > alpha I``, multiply the weight by ``min(lambda I / I_f, 1)``.

    I_f and I are the mean squared gradients on the forgotten and on everyone the original was trained on. Use it where
    nothing may be trained and the forgotten differ from the others; on patients drawn at random it tends to touch
    hardly anything, or far too much: read the shares it reports.

    Args:
        alpha: Selection threshold, >= 0. Everyone includes the forgotten, so that at or above |everyone| / |forgotten|
            no weight can be selected at all (10 where a tenth is forgotten).
        dampening: Factor lambda of the dampening, >= 0; at 0 the selected weights become 0.
        each: What is squared: sample = each sample's own gradient; batch = mean gradients of batches (the authors';
            with few forget batches it selects far more).

    Source: Foster et al. 2024 (arXiv 2308.07707), repository selective-synaptic-dampening (alpha 10, lambda 1; alpha x
    0.5 or x 2.5 in its experiments on classes; batches). Deviations: alpha 3, since of a clinical cohort a larger share
    is forgotten; lambda 0.5, tuned (docs/tuning.md); single samples, so that the choice does not depend on the size of
    batches; the cross-entropies of both heads are added; the importance to everyone is put together from those to the
    forgotten and to the retained, each read in its own batches; the gate, which is fitted anew after every unlearning,
    is left out.

    Examples:
        >>> method = SSD(alpha=10.0)
        >>> method.alpha, method.info.exact
        (10.0, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="SSD",
        paper="Foster et al., AAAI 2024, arXiv 2308.07707",
        summary="Weights that matter much more to the forgotten patients than to everyone are made smaller; nothing "
        "is trained.",
        reads=frozenset({"forget", "retain", "labels"}),
        exact=False,
        cost="1 + |forget| / |retain|, once",
        suits="quick first steps; forgotten patients who differ from all others",
        deterministic=True,
        search={"alpha": (1.0, 3.0, 10.0, 30.0), "dampening": (0.1, 0.5, 1.0)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    moves: ClassVar[Moves] = "closed form"

    alpha: float = 3.0
    dampening: float = 0.5
    each: Each = "sample"

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.dampening >= 0):
            raise MethodError(Fault("alpha and dampening must be at least 0", where="ssd"))

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)

        # Importance to each set, and the number of gradients it is a mean of.
        forget, forget_count = squared_gradients(
            student, loaders.forget, task=context.task, each=self.each
        )
        retain, retain_count = squared_gradients(
            student, loaders.retain, task=context.task, each=self.each
        )

        # Importance to everyone, put together from both sets.
        everyone: dict[str, Tensor] = {}
        for name in forget:
            total = forget_count * forget[name] + retain_count * retain[name]
            everyone[name] = total / (forget_count + retain_count)

        # Select and dampen.
        selected = {name: forget[name] > self.alpha * everyone[name] for name in forget}
        context.facts["share of weights dampened"] = shares(selected, branches(student))
        context.facts["alpha that selects nothing"] = 1 + retain_count / forget_count
        dampen(student, forget, everyone, selected, dampening=self.dampening)
        return student


@torch.no_grad()
def dampen(
    model: torch.nn.Module,
    forget: Mapping[str, Tensor],
    everyone: Mapping[str, Tensor],
    selected: Mapping[str, Tensor],
    *,
    dampening: float,
) -> None:
    """Multiply the selected weights by ``min(dampening * everyone / forget, 1)``, in place.

    Args:
        model: The model.
        forget, everyone: Importance of each weight, >= 0, by parameter name; forget > 0 where selected.
        selected: Bool, by parameter name.
        dampening: lambda, >= 0.
    """
    for name, chosen in selected.items():
        weight = model.get_parameter(name)

        # Never enlarged.
        factor = (dampening * everyone[name] / forget[name]).clamp(max=1.0)
        weight.copy_(torch.where(chosen, weight * factor, weight))
