"""CF-k: fine-tune the last k layers alone on the retained patients."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.net import Need
from forgetmi.core.ranges import Epochs, LearningRate, Number, Weight
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.frozen_prefix import frozen_prefix
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.last_layers import free_only, last_layers
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import adamw, minimise, set_mode, training_loss


@dataclass(frozen=True)
class CFk:
    """Catastrophic forgetting of the last k layers: fine-tune them on the retained patients, all others frozen.

    Use it as a cheap baseline. What the frozen layers remember about the forgotten patients stays by construction,
    so that audits of the embeddings should still find it.

    Args:
        image_k: Convolutions and linear layers of the image encoder that move, from the output on, >= 0; at or above
            their number the whole encoder. 3 = the head and the last residual block, 6 = the head and the last stage.
        text_k: The same for the text encoder. 8 = the head, the pooler and the last transformer layer.
        epochs: Passes over the retain set, >= 0.
        lr: Learning rate of AdamW, > 0.
        weight_decay: Weight decay (none on biases and norm layers), >= 0.
        clip: Largest gradient norm, 0 = none.
        bn: Batch-norm statistics of the layers that move: eval (kept) or train (updated); the others' never change.
        cache_mb: Memory for the outputs of the frozen layers, which are then computed once, MiB, >= 0; 0 = none.

    Source: Goel et al. 2022 (arXiv 2201.06640); repository Evaluating-Inexact-Unlearning (``cat_forget_finetune``: SGD,
    momentum 0.9, batches of 64, cosine with restarts from 0.1 to 0.005, 30 epochs, last 50 layers of a ResNet-110).
    Norm layers between the moving layers move, too, and are not counted. Deviations: k for each encoder, by forward
    depth; AdamW at a constant rate with clipping, 5 epochs; statistics of frozen batch norms do not move. The gate,
    which the loss does not reach, stays.

    Examples:
        >>> method = CFk(image_k=3)
        >>> method.image_k, method.info.exact
        (3, False)
        >>> sorted(method.info.reads)
        ['labels', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="CF-k",
        paper="Goel et al., 2022, arXiv 2201.06640",
        summary="The last layers are trained further on everyone else's data; all earlier layers stay as they are.",
        reads=frozenset({"retain", "labels"}),
        exact=False,
        cost="0.3 to 0.4",
        suits="a cheap baseline; not where embeddings are shared",
        own_epochs=True,
        search={"lr": (3e-4, 1e-3, 3e-3), "epochs": (3, 5, 10), "image_k": (3, 6, 12)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"stages"})
    moves: ClassVar[Moves] = "own layers"

    image_k: Number = 3
    text_k: Number = 8
    epochs: Epochs = 5
    lr: LearningRate = 3e-4
    weight_decay: Weight = 0.01
    clip: Weight = 5.0
    bn: Literal["eval", "train"] = "eval"
    cache_mb: Number = 512

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)

        # All but the last layers are frozen.
        moving = last_layers(student, image_k=self.image_k, text_k=self.text_k)
        free_only(student, moving)
        context.facts["layers that move"] = len(moving)
        optimiser = adamw(student, lr=self.lr, weight_decay=self.weight_decay)

        # The mode decides which steps the prefix may compute once.
        set_mode(student, self.bn)

        def objective(batch: Batch) -> dict[str, Tensor]:
            return {"retain": training_loss(student, batch, context)}

        # The frozen layers' outputs are computed once.
        prefix = frozen_prefix(
            student, loaders.retain, context, passes=self.epochs, limit=self.cache_mb
        )
        with prefix:
            for epoch in context.epochs(self.epochs, student=student, optimiser=optimiser):
                # One pass over the retain set.
                batches = loaders.retain.epoch(epoch)
                means = minimise(batches, objective, optimiser, context, clip=self.clip)
                context.log.epochs.append(means)
        return student.requires_grad_(True)
