"""An image tower: the DenseNets of the package TorchXRayVision."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from forgetmi.core.errors import Fault, SpecError
from forgetmi.model.towers.ranges import assert_range, assert_side
from forgetmi.model.towers.stages import run_stages, sequence_of
from forgetmi.model.towers.tensor_file import fitting, tensor_file

if TYPE_CHECKING:
    from forgetmi.model.tower_specs.convolutions import TorchXRayVisionSpec

# Grey values that its weights were trained on, from black to white
LOW, HIGH = -1024.0, 1024.0


class TorchXRayVision(nn.Module):
    """DenseNet-121 of TorchXRayVision without its classifier; the embedding is what its ``features2`` gives.

    Args:
        spec: See `forgetmi.model.tower_specs.convolutions.TorchXRayVisionSpec`.

    Source: Cohen et al. 2022 (arXiv 2111.00595), ``torchxrayvision.models.DenseNet``.
    """

    words = ""

    def __init__(self, spec: TorchXRayVisionSpec) -> None:
        super().__init__()
        self.spec = spec
        self.model = _densenet()
        self.width: int = self.model.classifier.in_features

        # The classifier of its findings is no part of the tower
        self.model.classifier = nn.Identity()

    @staticmethod
    def pretrained(spec: TorchXRayVisionSpec) -> dict[str, Tensor]:
        """The weights in the specification's file of a ``state_dict``.

        Raises:
            SpecError: They cannot be read or are not a DenseNet's of the package.
        """
        path = Path(spec.source)
        return fitting(TorchXRayVision(spec), _named_here(path), where=path.name)

    def prepare(self, raw: Tensor) -> Tensor:
        """Float[b, 1, h, w] in [0, 1] to [-1024, 1024].

        Raises:
            MethodError: Another size, or values outside [0, 1] (of the result: [-1024, 1024]).
        """
        assert_side(raw, self.spec.size, 1)
        grey = raw * (HIGH - LOW) + LOW
        assert_range(grey, LOW, HIGH, what="grey values", do="Give pixels in [0, 1].")
        return grey

    def stages(self) -> tuple[str, ...]:
        """Stem, dense blocks and transitions, and the last norm layer."""
        return sequence_of(self.model.features, "model.features")

    def soft(self, x: Tensor) -> Tensor:
        """Pixels reach the model by differentiable steps alone."""
        return x

    def forward(self, x: Tensor, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Embed images; see `forgetmi.model.towers.protocol.Tower`."""
        modules = [self.get_submodule(name) for name in self.stages()] if start or stop else []
        size = self.spec.size
        pixels = self.prepare(x) if start == 0 else x.new_zeros(len(x), 1, size, size)
        return run_stages(
            partial(self.model.features2, pixels), modules, start=start, value=x, stop=stop
        )


def _named_here(path: Path) -> dict[str, Tensor]:
    return {f"model.{name}": value for name, value in tensor_file(path).items()}


def _densenet() -> Any:
    try:
        models = import_module("torchxrayvision").models
    except ImportError as error:
        raise SpecError(
            Fault(
                "the package torchxrayvision is not installed",
                where="image tower",
                do="Install it: pip install forgetmi[towers]",
            )
        ) from error
    return models.DenseNet(weights=None)
