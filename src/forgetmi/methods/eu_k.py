"""EU-k: train the last k layers anew on the retained patients."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

from forgetmi.core.net import Need
from forgetmi.core.ranges import Number
from forgetmi.model.modes import learning
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.frozen_prefix import frozen_prefix
from forgetmi.unlearning.info import MethodInfo, Moves
from forgetmi.unlearning.last_layers import free_only, last_layers
from forgetmi.unlearning.loaders import GuardedLoaders


@dataclass(frozen=True)
class EUk:
    """Exact unlearning of the last k layers: they start afresh and are trained with the original's recipe.

    All others are frozen. Use it where part of a retraining can be afforded. With k at the whole depth of both
    encoders it is Retrain, weight for weight, with the seed `Context.fresh_seed`: fresh weights are never those the
    original began with. With a small k the frozen layers still remember what they learned.

    Args:
        image_k: Convolutions and linear layers of the image encoder that start afresh, from the output on, >= 0; at or
            above their number the whole encoder. 6 = the head and the last stage, 11 = the last two stages,
            12 = one convolution more.
        text_k: The same for the text encoder. 4 = the head, the pooler and the feed-forward part of the last
            transformer layer, 8 = the whole of that layer, 12 = half of the one before.
        cache_mb: Memory for the outputs of the frozen layers, which are then computed once, MiB, >= 0; 0 = none. They
            are computed anew in bfloat16, where dropout acts in them, and of images that the recipe shifts.

    Source: Goel et al. 2022 (arXiv 2201.06640); repository Evaluating-Inexact-Unlearning (``retrain_lastK``: 62 epochs,
    otherwise as CF-k). The gate is the joint embedding's own head and always starts afresh. Deviations: k for each
    encoder, by forward depth; each layer gets the initialiser it had at first (there He's for all), norm layers among
    them scale 1, shift 0 and new statistics (there kept); epochs, batches, rates and batch-norm mode are those of the
    original's recipe; batch norms that do not move keep their statistics.

    Examples:
        >>> method = EUk(image_k=6)
        >>> method.image_k, method.info.exact
        (6, False)
        >>> sorted(method.info.reads)
        ['labels', 'recipe', 'retain']
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="EU-k",
        paper="Goel et al., 2022, arXiv 2201.06640",
        summary="The last layers are trained from the start on everyone else's data; all earlier layers stay as they "
        "are.",
        reads=frozenset({"retain", "labels", "recipe"}),
        exact=False,
        cost="0.35 to 0.7, for all epochs of the original training",
        suits="whoever can afford part of a retraining; not where embeddings are shared",
        search={"image_k": (3, 6, 9, 12), "text_k": (4, 8, 12)},
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"stages", "fresh"})
    moves: ClassVar[Moves] = "own layers"

    image_k: Number = 12
    text_k: Number = 12
    cache_mb: Number = 512

    def apply(self, model: NetModule, loaders: GuardedLoaders, context: Context) -> NetModule:
        """Run the method; see the class."""
        student = copy.deepcopy(model)
        recipe = context.recipe

        # The last layers and the gate start afresh; all others are frozen.
        moving = last_layers(student, image_k=self.image_k, text_k=self.text_k)
        student.start_afresh(seed=context.fresh_seed, names=(*moving, *student.joining))
        free_only(student, moving)
        context.facts["layers that start afresh"] = len(moving)

        # Encoders whose frozen layers' outputs change from pass to pass.
        changing: tuple[str, ...] = ()
        if recipe.bf16:
            changing = student.modalities
        elif recipe.shift > 0:
            changing = ("image",)

        # In the mode of a training, which the prefix is computed for.
        learning(student)
        prefix = frozen_prefix(
            student,
            loaders.retain,
            context,
            passes=recipe.epochs,
            limit=self.cache_mb,
            but=changing,
        )
        with prefix:
            context.train(student, loaders.retain, seed=context.fresh_seed)
        return student.requires_grad_(True)
