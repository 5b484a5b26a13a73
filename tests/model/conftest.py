"""A tiny model and a loader over random samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from forgetmi.core.batch import Batch
from forgetmi.core.seeding import torch_generator
from forgetmi.model.spec import ModelSpec, ResNetSpec, TextEncoderSpec


class Samples:
    """Random samples behind the interface of a loader; a row can be learnt from image and text alike."""

    def __init__(self, n: int, *, batch_size: int, size: int = 32, length: int = 12) -> None:
        draw = torch_generator(n, "samples")
        label = torch.arange(n) % 4
        tokens = torch.randint(5, 50, (n, length), generator=draw)
        tokens[:, 1] = 5 + label
        mask = (torch.arange(length) < torch.randint(4, length + 1, (n, 1), generator=draw)).long()
        image = (
            0.5 * torch.rand(n, 1, size, size, generator=draw) + (label / 8)[:, None, None, None]
        )
        self.all = Batch.image_text(
            image, tokens * mask, mask, label, torch.arange(n), torch.arange(n)
        )
        self.rows = np.arange(n)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def take(self, rows: torch.Tensor) -> Batch:
        return self.all.select(rows)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        order = torch.randperm(len(self.rows), generator=torch_generator(0, "order", epoch))
        for rows in order.split(self.batch_size):
            yield self.take(rows)


@pytest.fixture
def samples() -> Callable[..., Samples]:
    """Makes random samples."""
    return Samples


@pytest.fixture
def spec() -> ModelSpec:
    """A model of a few thousand parameters with every kind of layer and with dropout."""
    return ModelSpec(
        image=ResNetSpec(
            size=32, stem_stride=2, stem_width=4, widths=(4, 8), blocks=2, pooling="global"
        ),
        text=TextEncoderSpec(
            hidden=12, layers=1, heads=2, intermediate=16, vocabulary=50, positions=16
        ),
        classes=4,
    )
