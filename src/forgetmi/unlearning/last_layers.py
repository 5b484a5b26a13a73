"""The last k layers of each branch, counted by forward depth."""

from __future__ import annotations

from torch import nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.net_module import NetModule, depth_order, is_image


def last_layers(model: NetModule, *, image_k: int, text_k: int) -> tuple[str, ...]:
    """Names of the modules that make up the last k layers of each branch.

    Convolutions and linear layers count, one each (a block's shortcut and the three projections of an attention layer
    included); the norm layers between them come along uncounted. With k at or above a branch's number of layers the
    whole branch is meant, embeddings included.

    Args:
        model: The model.
        image_k: Layers of the image branch, >= 0.
        text_k: Layers of the text branch and of any other, >= 0.

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

    # Each branch from input to output; a head that several share comes once.
    names: list[str] = []
    for modality, order in depth_order(model).items():
        k = image_k if is_image(modality) else text_k
        names += _last_of_branch(model, order, k)
    return tuple(dict.fromkeys(names))


def _last_of_branch(model: NetModule, names: tuple[str, ...], k: int) -> tuple[str, ...]:
    """The end of a branch, from its k-th last convolution or linear layer on."""
    if k == 0:
        return ()

    # Positions of the layers that count; the norm layers between them do not.
    counted: list[int] = []
    for position, name in enumerate(names):
        if isinstance(model.get_submodule(name), nn.Conv2d | nn.Linear):
            counted.append(position)
    if k >= len(counted):
        return names
    return names[counted[-k] :]


def free_only(model: NetModule, names: tuple[str, ...]) -> None:
    """Freeze every parameter but those of the named modules, in place."""
    # Freeze all, then free the named.
    model.requires_grad_(False)
    for name in names:
        model.get_submodule(name).requires_grad_(True)
