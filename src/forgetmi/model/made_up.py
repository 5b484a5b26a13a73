"""Made-up samples, on which a model is tried before any patient's are read."""

from __future__ import annotations

import torch

from forgetmi.core.batch import Batch
from forgetmi.core.inputs import Inputs, Tokens
from forgetmi.core.modalities import IMAGE, TEXT
from forgetmi.core.seeding import torch_generator
from forgetmi.model.own_spec import Sizes

# Samples that a model is tried on, and tokens of their texts: of different lengths, so that some are padded
SAMPLES = 3
LONGEST = 12


def sample(sizes: Sizes, modalities: tuple[str, ...]) -> Batch:
    """A batch of made-up samples of each modality: noise for films and tables, random words for texts.

    Args:
        sizes: Of the inputs.
        modalities: Which of them.
    """
    generator = torch_generator(0, "own model", "sample")
    inputs: dict[str, Inputs] = {}
    for modality in modalities:
        if modality == IMAGE:
            shape = (SAMPLES, 1, sizes.image, sizes.image)
            inputs[modality] = torch.rand(shape, generator=generator)
        elif modality == TEXT:
            inputs[modality] = _texts(sizes, generator)
        else:
            inputs[modality] = torch.rand((SAMPLES, len(sizes.columns)), generator=generator)

    numbers = torch.arange(SAMPLES)
    return Batch(inputs, label=numbers % sizes.classes, study=numbers, row=numbers)


def _texts(sizes: Sizes, generator: torch.Generator) -> Tokens:
    """Texts of different lengths, padded to the longest."""
    longest = min(LONGEST, sizes.longest)
    lengths = torch.tensor([max(1, longest - 2 * number) for number in range(SAMPLES)])
    ids = torch.randint(1, sizes.vocabulary, (SAMPLES, longest), generator=generator)
    mask = (torch.arange(longest)[None, :] < lengths[:, None]).long()
    return Tokens(ids * mask, mask)
