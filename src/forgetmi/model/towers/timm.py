"""An image tower: any model of the package timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from forgetmi.model.towers.pixels import Normalise
from forgetmi.model.towers.stages import run_stages, sequence_of
from forgetmi.model.towers.tensor_file import fitting, tensor_file
from forgetmi.model.towers.timm_package import timm_model

if TYPE_CHECKING:
    from forgetmi.model.tower_specs.convolutions import TimmSpec


class Timm(nn.Module):
    """A model of timm without its classifier; the embedding is what timm pools before it.

    Args:
        spec: Resolved; see `forgetmi.model.tower_specs.convolutions.TimmSpec`.

    Source: timm.create_model with num_classes=0.
    """

    words = ""

    def __init__(self, spec: TimmSpec) -> None:
        super().__init__()
        self.spec = spec
        self.normalise = Normalise(spec.size, spec.mean, spec.std)
        self.model = timm_model(spec.name, pretrained=False)
        self.width: int = self.model.num_features

    @staticmethod
    def pretrained(spec: TimmSpec) -> dict[str, Tensor]:
        """The weights in the specification's file, or, where that is allowed, as timm fetches them.

        Raises:
            SpecError: They cannot be read or are not the model's.
        """
        if spec.source:
            path = Path(spec.source)
            model = timm_model(spec.name, pretrained=False)
            tensors = fitting(model, tensor_file(path), where=path.name)
        else:
            tensors = timm_model(spec.name, pretrained=spec.download).state_dict()
        return {f"model.{name}": value for name, value in tensors.items()}

    def prepare(self, raw: Tensor) -> Tensor:
        """Float[b, 1, h, w] in [0, 1] to the model's channels, mean and standard deviation."""
        return self.normalise(raw)

    def stages(self) -> tuple[str, ...]:
        """The model's parts in the order in which it has them."""
        return sequence_of(self.model, "model")

    def soft(self, x: Tensor) -> Tensor:
        """Pixels reach the model by differentiable steps alone."""
        return x

    def forward(self, x: Tensor, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Embed images; see `forgetmi.model.towers.protocol.Tower`."""
        modules = [self.get_submodule(name) for name in self.stages()] if start or stop else []
        pixels = (
            self.prepare(x) if start == 0 else _blank(x, self.spec.size, self.normalise.channels)
        )
        return run_stages(partial(self.model, pixels), modules, start=start, value=x, stop=stop)


def _blank(like: Tensor, size: int, channels: int) -> Tensor:
    """Pixels that no stage reads."""
    return like.new_zeros(len(like), channels, size, size)
