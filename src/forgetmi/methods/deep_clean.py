"""DeepClean: clear the weights that matter to the forgotten and not to the others, and learn only those again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Weight
from forgetmi.model.net_module import NetModule, branches
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.importance import Each, squared_gradients
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, training_loss
from forgetmi.unlearning.masks import Branches, by_encoder, largest_by_encoder, masked, shares


@dataclass(frozen=True)
class DeepClean:
    """Set the weights with the largest ratio of Fisher information, forget to retain, to 0; train those alone again.

    Use it where as few weights as possible should change and a short training is affordable. All others, with the
    batch-norm statistics, stay bit-identical.

    Args:
        share: Share of each encoder's weights that is cleared, 0 to 1.
        each: What is squared: sample = each sample's own gradient (the definition); batch = mean gradients of batches
            (faster).
        epochs: Passes over the retain set, >= 0; at 0 nothing is cleared, either.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay of the cleared weights, >= 0.
        clip: Largest gradient norm, 0 = none.

    Source: Shi et al. 2024 (arXiv 2311.10448). Deviations: a share takes the place of the threshold on the ratio, so
    that equal settings clear equal numbers in every model; the encoders are ranked apart; biases and norm layers are
    left alone, since a cleared scale silences a whole channel; what is added to the denominator is 1e-8 of the
    encoder's mean, so that the choice does not depend on the scale of the loss.

    Examples:
        >>> method = DeepClean(share=0.03)
        >>> method.share, method.info.exact
        (0.03, False)
        >>> sorted(method.info.reads)
        ['forget', 'labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="DeepClean",
        paper="Shi et al., 2024, arXiv 2311.10448",
        summary="The few weights that matter to the forgotten patients and to hardly anyone else are cleared and "
        "learned again from everyone else's data.",
        reads=frozenset({"forget", "retain", "labels"}),
        exact=False,
        cost="1, and 1 + |forget| / |retain| once (in batches of one with each = sample)",
        suits="comparisons; where as few weights as possible should change",
        own_epochs=True,
        search={"share": (0.01, 0.03, 0.1), "epochs": (1, 2, 5), "lr": (2e-4, 5e-4, 1e-3)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    moves: ClassVar[Moves] = "chosen weights"

    share: float = 0.1
    each: Each = "sample"
    epochs: Epochs = 5
    lr: LearningRate = 1e-3
    weight_decay: Weight = 0.01
    clip: Weight = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise MethodError(
                Fault("share must be in [0, 1]", where="deep_clean", why=f"got {self.share}")
            )

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model).eval()
        if self.epochs == 0:
            return student

        # Fisher information of both sets, and the weights that it selects.
        forget, _ = squared_gradients(student, loaders.forget, task=context.task, each=self.each)
        retain, _ = squared_gradients(student, loaders.retain, task=context.task, each=self.each)
        movable = {name for name, weight in student.named_parameters() if weight.requires_grad}
        retain = {name: values for name, values in retain.items() if name in movable}
        masks = choose(forget, retain, branches(student), share=self.share)
        context.facts["share of weights cleared"] = shares(masks, branches(student))

        # Clear them, and train those alone.
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(name in masks)
        _clear(student, masks)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        def objective(batch: Batch) -> dict[str, Tensor]:
            return {"retain": training_loss(student, batch, context)}

        with masked(student, optimiser, masks):
            for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
                # One pass over the retain set.
                batches = loaders.retain.epoch(epoch)
                means = minimise(batches, objective, optimiser, context, clip=self.clip)
                context.log.epochs.append(means)
        return student.requires_grad_(True)


def choose(
    forget: Mapping[str, Tensor],
    retain: Mapping[str, Tensor],
    encoders: Branches,
    *,
    share: float,
) -> dict[str, Tensor]:
    """The weight matrices' elements with the largest ratio of importance, each encoder ranked for itself.

    Args:
        forget, retain: Importance of each parameter's elements, >= 0, by name.
        encoders: The parameters of each encoder, see `forgetmi.model.net_module.branches`.
        share: Share of an encoder's elements that is chosen, 0 to 1; biases and norm layers do not count.

    Returns:
        Bool tensors, by name.
    """
    # Biases and norm layers are left alone.
    matrices = {name: values for name, values in retain.items() if values.ndim > 1}

    ratio: dict[str, Tensor] = {}
    for encoder in by_encoder(matrices, encoders).values():
        # The denominator's floor is a share of the encoder's mean.
        total = sum(float(values.double().sum()) for values in encoder.values())
        mean = total / sum(values.numel() for values in encoder.values())
        floor = 1e-8 * mean or torch.finfo(torch.float32).tiny
        for name, values in encoder.items():
            ratio[name] = forget[name] / (values + floor)
    return largest_by_encoder(ratio, share, encoders)


@torch.no_grad()
def _clear(model: NetModule, masks: Mapping[str, Tensor]) -> None:
    """Set the chosen weights to 0, in place."""
    for name, mask in masks.items():
        model.get_parameter(name).masked_fill_(mask, 0.0)
