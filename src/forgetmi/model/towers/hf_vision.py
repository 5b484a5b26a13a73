"""An image tower: Vision Transformers of the transformers library, such as ViT, DINOv2 and RAD-DINO."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from forgetmi.model.towers.hf_model import hf_model, hf_weights
from forgetmi.model.towers.pixels import Normalise
from forgetmi.model.towers.stages import run_stages, sequence_of

if TYPE_CHECKING:
    from forgetmi.model.tower_specs.hf import HfVisionSpec


class HfVision(nn.Module):
    """ViT, DeiT, DINOv2 (with registers, too) and their like.

    The embedding is the class token's after the last norm layer (what RAD-DINO calls its pooled output), or the mean
    over the patches.

    Args:
        spec: Resolved; see `forgetmi.model.tower_specs.hf.HfVisionSpec`.

    Source: the models of the transformers library. Deviation: ViT's pooling layer is not used.
    """

    words = ""

    def __init__(self, spec: HfVisionSpec) -> None:
        super().__init__()
        self.spec = spec
        self.normalise = Normalise(spec.size, spec.mean, spec.std)
        self.model = hf_model(spec.config)
        self.width: int = self.model.config.hidden_size

    @staticmethod
    def pretrained(spec: HfVisionSpec) -> dict[str, Tensor]:
        """The weights in the specification's folder, by the names that they have here."""
        weights = hf_weights(spec.config, spec.folder())
        return {f"model.{name}": value for name, value in weights.items()}

    def prepare(self, raw: Tensor) -> Tensor:
        """Float[b, 1, h, w] in [0, 1] to the encoder's channels, mean and standard deviation."""
        return self.normalise(raw)

    def stages(self) -> tuple[str, ...]:
        """Patch embeddings, each layer, and the last norm layer."""
        return sequence_of(self.model, "model")

    def soft(self, x: Tensor) -> Tensor:
        """Pixels reach the encoder by differentiable steps alone."""
        return x

    def forward(self, x: Tensor, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Embed images; see `forgetmi.model.towers.protocol.Tower`."""
        modules = [self.get_submodule(name) for name in self.stages()] if start or stop else []

        # Later stages read nothing of the pixels
        if start:
            size, channels = self.spec.size, self.normalise.channels
            pixels = x.new_zeros(len(x), channels, size, size)
        else:
            pixels = self.prepare(x)
        return run_stages(
            partial(self._embedding, pixels), modules, start=start, value=x, stop=stop
        )

    def _embedding(self, pixels: Tensor) -> Tensor:
        options: dict[str, Any] = {}
        config = self.model.config

        # DINOv2 adapts its positions to any size by itself, ViT when told
        if pixels.shape[2] != config.image_size and not config.model_type.startswith("dino"):
            options["interpolate_pos_encoding"] = True

        hidden = self.model(pixel_values=pixels, **options).last_hidden_state
        if self.spec.pooling == "cls":
            return hidden[:, 0]

        # Patches follow the class token and the registers
        first = hidden.shape[1] - (pixels.shape[2] // config.patch_size) ** 2
        return hidden[:, first:].mean(1)
