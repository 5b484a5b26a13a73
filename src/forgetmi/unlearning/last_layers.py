"""The last k layers of each branch, counted by forward depth."""

from __future__ import annotations

from torch import nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.image_text import ImageText, depth_order


def last_layers(model: ImageText, *, image_k: int, text_k: int) -> tuple[str, ...]:
    """Names of the modules that make up the last k layers of both branches.

    Convolutions and linear layers count, one each (a block's shortcut and the three projections of an attention layer
    included); the norm layers between them come along uncounted. With k at or above a branch's number of layers the
    whole branch is meant, embeddings included.

    Args:
        model: The model.
        image_k, text_k: Layers of the image and of the text branch, >= 0.

    Returns:
        Names, from input to output, image branch first.

    Raises:
        MethodError: A number is negative, or both are 0.
    """
    if min(image_k, text_k) < 0 or image_k == text_k == 0:
        raise MethodError(
            Fault(
                "no layer may move",
                why=f"image_k is {image_k} and text_k is {text_k}",
                do="Choose numbers of at least 0, one of them above 0.",
            )
        )
    order = depth_order(model)
    return (*_tail(model, order["image"], image_k), *_tail(model, order["text"], text_k))


def _tail(model: ImageText, names: tuple[str, ...], k: int) -> tuple[str, ...]:
    counted = [
        at
        for at, name in enumerate(names)
        if isinstance(model.get_submodule(name), nn.Conv2d | nn.Linear)
    ]
    if k == 0:
        return ()
    return names if k >= len(counted) else names[counted[-k] :]


def free_only(model: ImageText, names: tuple[str, ...]) -> None:
    """Freeze every parameter but those of the named modules, in place."""
    model.requires_grad_(False)
    for name in names:
        model.get_submodule(name).requires_grad_(True)
