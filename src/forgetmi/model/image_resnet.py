"""The image encoder: a narrow single-channel residual network for radiographs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from forgetmi.core import distributed
from forgetmi.core.collectives import all_sum
from forgetmi.core.errors import Fault, SpecError
from forgetmi.model.memory_layout import channels_last
from forgetmi.model.spec import ResNetSpec


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation; several processes train with the statistics of all their samples, on any device."""

    def forward(self, input: Tensor) -> Tensor:
        """Feature map in, feature map out."""
        if distributed.world_size() == 1 or not self.training:
            return super().forward(input)

        x = input.float()
        channel = (slice(None), None, None)

        # Mean over the samples and positions of all processes; the count travels in the same message.
        positions = x.numel() / x.shape[1]
        sums = all_sum(torch.cat([x.sum(dim=(0, 2, 3)), x.new_tensor([positions])]))
        size = sums[-1].detach()
        mean = sums[:-1] / sums[-1].detach()

        # Variance around that mean.
        x = x - mean[channel]
        variance = all_sum(x.square().sum(dim=(0, 2, 3))) / size

        # Running statistics, with the unbiased variance as in PyTorch.
        with torch.no_grad():
            momentum = cast(float, self.momentum)
            cast(Tensor, self.running_mean).lerp_(mean, momentum)
            cast(Tensor, self.running_var).lerp_(variance * (size / (size - 1)), momentum)
            cast(Tensor, self.num_batches_tracked).add_(1)

        x = x * ((variance + self.eps).rsqrt() * self.weight)[channel] + self.bias[channel]
        return x.to(input.dtype)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(width)
        self.relu = nn.ReLU(inplace=True)

        # The shortcut changes size and channels where the block does.
        self.downsample = nn.Sequential()
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), BatchNorm(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Feature map in, feature map out."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.downsample(x)
        return self.relu(y)


class ImageResNet(nn.Module):
    """Single-channel ResNet without max-pooling: stem, stages of stride 2, pooling, one linear head.

    Args:
        spec: Sizes.
        classes: Number k of classes.

    Source: the joint image-report model of Chauhan et al. 2020 (arXiv 2008.09884), whose sizes and parameter names the
    Forget-MI release keeps (7 stages, 3,313,548 parameters for 4 classes). Deviation: sizes are free.
    """

    def __init__(self, spec: ResNetSpec, classes: int) -> None:
        super().__init__()
        self.spec = spec

        # Stem: one strided convolution.
        self.conv1 = nn.Conv2d(
            1, spec.stem_width, 7, stride=spec.stem_stride, padding=3, bias=False
        )
        self.bn1 = BatchNorm(spec.stem_width)
        self.relu = nn.ReLU(inplace=True)

        # Stages, named layer1, layer2, ...; the first block of each halves the side.
        channels = spec.stem_width
        for stage, width in enumerate(spec.widths, start=1):
            blocks = [BasicBlock(channels, width, stride=2)]
            for _ in range(1, spec.blocks):
                blocks.append(BasicBlock(width, width, stride=1))
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            channels = width

        # Pooling and head.
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(1)
        if spec.pooling == "average2x2":
            self.pool = nn.AvgPool2d(2)
        self.fc1 = nn.Linear(spec.features, classes)

    def steps(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules of each step from the image to the embedding: stem, every residual block, pooling."""
        blocks = [(block,) for block in self._blocks()]
        return (self.conv1, self.bn1), *blocks, (self.pool,)

    def encode(
        self, x: Tensor, *, start: int = 0, stop: int | None = None, recompute: bool = False
    ) -> Tensor:
        """Run some of the `steps`.

        Args:
            x: Float[b, 1, h, w], or the output of the step before ``start``.
            start, stop: First step, and the one to stop before; None = all up to the embedding.
            recompute: Compute the blocks' activations again in the backward pass; not while batch statistics are
                learned, which would then move twice.
        """
        recompute = recompute and not self.training and torch.is_grad_enabled()
        if start == 0:
            x = channels_last(x)

        steps: list[Callable[[Tensor], Tensor]] = [self._stem]
        for block in self._blocks():
            if recompute:
                steps.append(partial(checkpoint, block, use_reentrant=False))
            else:
                steps.append(block)
        steps.append(self._pool)

        for step in steps[start:stop]:
            x = step(x)
        return x

    def forward(
        self, image: Tensor, *, start: int = 0, recompute: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Embed and classify.

        Args:
            image: Float[b, 1, h, w] in [0, 1], or the output of the step before ``start``.
            start: First of the `steps` to run.
            recompute: As for `encode`.

        Returns:
            Embedding Float[b, d] and logits Float[b, k].

        Raises:
            SpecError: The images have another size than the pooling was made for.
        """
        if start == 0:
            self._check_size(image)

        embedding = self.encode(image, start=start, recompute=recompute)
        return embedding, self.fc1(embedding)

    def _check_size(self, image: Tensor) -> None:
        """Refuse images whose last feature map has another size than the head was made for."""
        if self.spec.pooling == "global":
            return

        height, width = image.shape[2:]
        pooled = self.spec.map_side() // 2
        if self.spec.map_side(height) // 2 == pooled and self.spec.map_side(width) // 2 == pooled:
            return

        raise SpecError(
            Fault(
                f"images of {height}x{width} pixels do not fit this model",
                where="image encoder",
                why=f"it was made for {self.spec.size}x{self.spec.size}",
                do="Prepare the images at that size.",
            )
        )

    def _blocks(self) -> list[nn.Module]:
        """The residual blocks, by depth."""
        blocks: list[nn.Module] = []
        for stage in range(1, len(self.spec.widths) + 1):
            blocks.extend(self.get_submodule(f"layer{stage}").children())
        return blocks

    def _stem(self, image: Tensor) -> Tensor:
        return self.relu(self.bn1(self.conv1(image)))

    def _pool(self, x: Tensor) -> Tensor:
        return self.pool(x).flatten(1)
