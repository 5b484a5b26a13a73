"""An image tower: any model of the package timm."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from forgetmi.core.errors import Fault, SpecError
from forgetmi.model.towers.pixels import Normalise
from forgetmi.model.towers.stages import run_stages, sequence_of
from forgetmi.model.towers.tensor_file import fitting, tensor_file

if TYPE_CHECKING:
    from forgetmi.model.tower_specs.convolutions import TimmSpec


class Timm(nn.Module):
    """A model of timm without its classifier; the embedding is what timm pools before it.

    Args:
        spec: Resolved; see `forgetmi.model.tower_specs.convolutions.TimmSpec`.

    Source: timm.create_model with num_classes=0.
    """

    def __init__(self, spec: TimmSpec) -> None:
        super().__init__()
        self.spec = spec
        self.normalise = Normalise(spec.size, spec.mean, spec.std)
        self.model = _model(spec.name, pretrained=False)
        self.width: int = self.model.num_features

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


def data_rules(name: str) -> dict[str, Any]:
    """Size, mean and standard deviation of a model's own configuration in timm.

    Raises:
        SpecError: timm is not installed or does not know the model, or its images are no squares.
    """
    config = _package().data.resolve_model_data_config(_model(name, pretrained=False))
    channels, height, width = config["input_size"]
    if height != width or len(config["mean"]) != channels:
        raise SpecError(Fault("the model's images are no squares", where="image tower"))
    return {"size": height, "mean": tuple(config["mean"]), "std": tuple(config["std"])}


def timm_weights(spec: TimmSpec) -> dict[str, Tensor]:
    """The weights of a model in its file, or, where that is allowed, as timm fetches them.

    Raises:
        SpecError: They cannot be read or are not the model's.
    """
    if spec.source:
        path = Path(spec.source)
        tensors = fitting(_model(spec.name, pretrained=False), tensor_file(path), where=path.name)
    else:
        tensors = _model(spec.name, pretrained=spec.download).state_dict()
    return {f"model.{name}": value for name, value in tensors.items()}


def _model(name: str, *, pretrained: bool) -> Any:
    try:
        return _package().create_model(name, pretrained=pretrained, num_classes=0)
    except SpecError:
        raise
    # Whatever timm raises for a name or the network
    except Exception as error:
        raise SpecError(
            Fault(
                "timm cannot make the model",
                where="image tower",
                why=type(error).__name__,
                do="timm.list_models() lists the names.",
            )
        ) from error


def _package() -> Any:
    try:
        return import_module("timm")
    except ImportError as error:
        raise SpecError(
            Fault(
                "the package timm is not installed",
                where="image tower",
                do="Install it: pip install forgetmi[towers]",
            )
        ) from error
