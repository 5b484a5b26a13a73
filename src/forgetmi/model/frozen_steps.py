"""What the frozen first stages of a model make of each sample, computed once for a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from forgetmi.core.batch import Batch
from forgetmi.core.modalities import TEXT
from forgetmi.model.composed import Composed
from forgetmi.model.image_text import ImageText
from forgetmi.model.modes import learning
from forgetmi.model.prefix import Prefix, fixed_steps
from forgetmi.model.recipe import Recipe

# Largest size of the table in a training, MiB
MOST = 4096.0


def empty_prefixes(starts: Mapping[str, int]) -> dict[str, Prefix]:
    """Tables yet to be filled, of the encoders that do not begin at their first step.

    Args:
        starts: Step that each encoder begins at, by modality.
    """
    prefixes: dict[str, Prefix] = {}
    for modality, start in starts.items():
        if start > 0:
            prefixes[modality] = Prefix(start, of_texts=modality == TEXT)
    return prefixes


@torch.no_grad()
def fill(
    prefixes: dict[str, Prefix],
    model: ImageText | Composed,
    batches: Iterable[Batch],
    *,
    limit: float,
) -> None:
    """Run the first steps over samples; what exceeds the limit is dropped, the larger encoder's part first.

    Args:
        prefixes: Filled in place.
        model: In the mode that it is trained in.
        batches: On its device.
        limit: Bytes.
    """
    for batch in batches:
        for modality, prefix in prefixes.items():
            prefix.keep(batch, model.encode(batch, modality, stop=prefix.start))

        while sum(prefix.size for prefix in prefixes.values()) > limit:
            largest = max(prefixes, key=lambda modality: prefixes[modality].size)
            del prefixes[largest]
        if not prefixes:
            return


def training_prefixes(model: object, batches: Iterable[Batch], recipe: Recipe) -> dict[str, Prefix]:
    """What the stages that a specification or a carrier froze make of all samples that a training reads.

    None for other models, for trainings that shift their images, of a single pass, or under autocast, whose results
    would differ by more than rounding.

    Args:
        model: Fresh.
        batches: Every sample of the training, on any device.
        recipe: The training's.
    """
    held = isinstance(model, Composed) or (
        isinstance(model, ImageText) and model.execution.still == "layers"
    )
    if not held or recipe.epochs < 2 or recipe.shift > 0 or recipe.bf16:
        return {}
    assert isinstance(model, Composed | ImageText)

    # In the mode of a training, in which frozen stages draw nothing
    learning(model)
    starts = {modality: fixed_steps(model.steps(modality)) for modality in model.modalities}
    prefixes = empty_prefixes(starts)
    if prefixes:
        on_device = (batch.to(model.device) for batch in batches)
        fill(prefixes, model, on_device, limit=MOST * 2**20)
    return prefixes
