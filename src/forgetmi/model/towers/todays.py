"""Which module a specification of an image or a text encoder builds.

To add a tower: its specification in `forgetmi.model.spec`, its module in a file of its own, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from forgetmi.model.image_resnet import ImageResNet
from forgetmi.model.spec import ResNetSpec, TextEncoderSpec
from forgetmi.model.text_encoder import TextEncoder

# Specification -> module. An image tower is made of (specification, classes); a text tower also takes the width of the
# image tower's embedding, which its own must have.
IMAGE_TOWERS: dict[type, Callable[..., nn.Module]] = {ResNetSpec: ImageResNet}
TEXT_TOWERS: dict[type, Callable[..., nn.Module]] = {TextEncoderSpec: TextEncoder}


def image_tower(spec: Any, *, classes: int) -> Any:
    """The image encoder with its head.

    Args:
        spec: One of the specifications in `IMAGE_TOWERS`.
        classes: Number of classes of its head.
    """
    return IMAGE_TOWERS[type(spec)](spec, classes)


def text_tower(spec: Any, *, width: int, classes: int) -> Any:
    """The text encoder with its projection and head.

    Args:
        spec: One of the specifications in `TEXT_TOWERS`.
        width: Width of the embedding, that of the image tower.
        classes: Number of classes of its head.
    """
    return TEXT_TOWERS[type(spec)](spec, width=width, classes=classes)
