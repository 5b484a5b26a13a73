"""Random weights that stand under the name of pretrained ones: told by what every training moves."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from forgetmi.core.errors import Fault

_MEAN = "running_mean"


def untrained_faults(state: Mapping[str, Tensor], *, where: str) -> list[Fault]:
    """A fault where all weights of an encoder are as a library makes them before any training.

    Every training moves the means of batch norms, and the scales and shifts of layer norms with the biases beside them,
    which start at exactly 1 and 0. Weights that were drawn at random, stored and never trained are told by it.

    Args:
        state: Tensors by name.
        where: Name of the file or folder, for messages.

    Examples:
        >>> import torch
        >>> fresh = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).state_dict()
        >>> [fault.what for fault in untrained_faults(fresh, where="x.safetensors")]
        ['the weights were never trained']
    """
    vectors = {
        name: value
        for name, value in state.items()
        if value.ndim == 1 and len(value) > 1 and value.is_floating_point()
    }

    # Batch norms tell by their means alone: biases of convolutions may be drawn at random
    means = [value for name, value in vectors.items() if name.endswith(_MEAN)]
    if means:
        untouched = all(not bool(value.any()) for value in means)
    else:
        values = vectors.values()
        untouched = bool(vectors) and all(bool((value == value[0]).all()) for value in values)
        untouched = untouched and {float(value[0]) for value in values} <= {0.0, 1.0}
    if not untouched:
        return []
    return [
        Fault(
            "the weights were never trained",
            where=where,
            why="all norms are as they are made, so that the numbers are random ones under a pretrained name",
            do="Name the file of the trained weights, or ask for random ones (random=true).",
        )
    ]
