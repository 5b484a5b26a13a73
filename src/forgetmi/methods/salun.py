"""SalUn: random labels, but only for the weights the forgotten depend on most."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.core.task import Rule
from forgetmi.methods.random_labels import RandomLabels
from forgetmi.model.net_module import NetModule, branches, free_but_joining
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.importance import summed_gradient
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw
from forgetmi.unlearning.masks import largest_by_encoder, masked, shares
from forgetmi.unlearning.relabel import Unit


@dataclass(frozen=True)
class SalUn:
    """Saliency unlearning: `RandomLabels` that moves only the weights with the largest gradient on the forget set.

    Use it where random labels cost too much utility. All other weights of the encoders stay bit-identical.

    Args:
        share: Share tau of each encoder's weights that may move, 0 to 1; at 1 this is `RandomLabels` of the
            same options, bit for bit.
        labels, unit, redraw, order: As in `RandomLabels`.
        epochs: Passes over both sets, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics: eval (kept) or train (updated: they are no weights and have no mask).

    Source: Fan et al. 2024 (arXiv 2310.12508), repository Unlearn-Saliency (``generate_mask.py``, ``RL.py``; tau 0.5,
    passes, SGD, rate 0.013, momentum 0.9, decay 5e-4, 10 epochs, batches of 256). Deviations: the encoders are ranked
    apart; the gradient is summed over samples, not over batch means, and the weights stay while it is; AdamW, whose
    moments are masked with the gradient. As there, opposing samples cancel in the sum.

    Examples:
        >>> method = SalUn(share=0.2)
        >>> method.share, method.info.exact
        (0.2, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="SalUn",
        paper="Fan et al., ICLR 2024, arXiv 2310.12508",
        summary="Teaches the model wrong answers about the forgotten patients by changing only the weights that "
        "matter most to them.",
        reads=frozenset({"forget", "retain", "labels"}),
        exact=False,
        cost="1 + |forget| / |retain|, and |forget| / |retain| once",
        suits="comparisons; where as few weights as possible should change",
        own_epochs=True,
        search={"lr": (1e-4, 3e-4, 1e-3), "epochs": (3, 5, 10), "share": (0.2, 0.5)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    moves: ClassVar[Moves] = "chosen weights"

    share: float = 0.5
    labels: Rule = "other"
    unit: Unit = "study"
    redraw: bool = False
    order: Literal["mixed", "passes"] = "mixed"
    epochs: Epochs = 5
    lr: LearningRate = 3e-4
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise MethodError(
                Fault("share must be in [0, 1]", where="salun", why=f"got {self.share}")
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        if self.epochs == 0:
            return student
        # The gate is fitted anew after every unlearning, so that it stays as it is here.
        free_but_joining(student)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The weights with the largest gradient on the forgotten.
        forget = loaders.forget
        gradient = summed_gradient(student, forget.batches(forget.rows), task=context.task)
        movable = {name for name, weight in student.named_parameters() if weight.requires_grad}
        saliency = {name: gradient[name].abs() for name in gradient if name in movable}
        masks = largest_by_encoder(saliency, self.share, branches(student))
        context.facts["share of weights that may move"] = shares(masks, branches(student))

        # Random labels, for those weights alone.
        method = RandomLabels(
            labels=self.labels,
            unit=self.unit,
            redraw=self.redraw,
            order=self.order,
            epochs=self.epochs,
            lr=self.lr,
            weight_decay=self.weight_decay,
            clip=self.clip,
            bn=self.bn,
        )
        with masked(student, optimiser, masks):
            method.train(student, optimiser, loaders, context)
        return student
