"""Forgotten and retained samples shuffled together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.unlearning.mixed import forgotten, mixed, portion
from tests.unlearning.reading import loaders


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_row_comes_once_forgotten_first(small: Any, size: int) -> None:
    retained = small.partition.retain[::2]
    batches = list(mixed(loaders(small, "labels", batch_size=size), retained, seed=1, epoch=2))
    rows = np.concatenate([batch.row.numpy() for batch in batches])
    assert sorted(rows) == sorted([*small.partition.forget, *retained])
    assert all(len(batch) == size for batch in batches[:-1])
    for batch in batches:
        first = forgotten(batch, small.partition.forget)
        assert np.isin(batch.row[:first].numpy(), small.partition.forget).all()
        assert not np.isin(batch.row[first:].numpy(), small.partition.forget).any()


def test_the_order_depends_on_seed_and_epoch_alone(small: Any) -> None:
    def rows(seed: int, epoch: int) -> list[int]:
        sets = loaders(small, batch_size=16)
        return torch.cat(
            [b.row for b in mixed(sets, small.partition.retain, seed=seed, epoch=epoch)]
        ).tolist()

    assert rows(1, 2) == rows(1, 2)
    assert len({tuple(rows(*key)) for key in ((1, 2), (1, 3), (2, 2))}) == 3


def test_portions_by_hand(small: Any) -> None:
    batch = small.prepared.records.batch(small.partition.retain[:8])
    assert float(portion(lambda: torch.tensor(3.0), 2, batch)) == 0.75
    assert float(portion(lambda: torch.tensor(torch.nan), 0, batch)) == 0.0
