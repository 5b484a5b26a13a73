"""The log of a training by blocks of adapters: each patient's shard and slice, and the blocks of every order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch

from forgetmi.core.arrays import Ints
from forgetmi.unlearning.adapter_blocks import Block
from forgetmi.unlearning.training_log import load_log, save_log

_KIND = "S3T"


def order_of(number: int, *, orders: int, slices: int) -> Ints:
    """Slices in the order in which one sequence of a shard learns them: rotations, evenly apart.

    Args:
        number: Of the sequence, from 0.
        orders: How many sequences there are, 1 to `slices`.
        slices: How many slices.

    Examples:
        >>> order_of(0, orders=2, slices=4).tolist(), order_of(1, orders=2, slices=4).tolist()
        ([0, 1, 2, 3], [2, 3, 0, 1])
    """
    return np.roll(np.arange(slices), -(number * slices // orders))


@final
@dataclass(frozen=True, eq=False, repr=False)
class BlockLog:
    """Every patient's shard and slice, and the blocks of adapters of every order that nobody forgotten has touched.

    Storage is 4 bytes x (adapters, once, + heads and projections x slices) x orders x shards.

    A block remembers the patients of its slice and of those before: replace this log by the one that unlearning
    returns, in which the blocks that saw the forgotten are no more.

    Args:
        shard, slice: Int[n] for every row of the cohort, -1 = not trained on.
        slices: How many a shard has.
        blocks: Of each shard and order, the first ones that are left.
        adapters: What they are, such as "lora,rank=8,alpha=16".
        base: Digest of the weights below them.
    """

    shard: Ints
    slice: Ints
    slices: int
    blocks: tuple[tuple[tuple[Block, ...], ...], ...]
    adapters: str
    base: str

    @property
    def orders(self) -> int:
        """Sequences of a shard."""
        return len(self.blocks[0])

    def left(self, shard: int) -> list[int]:
        """How many blocks each order of a shard has left."""
        return [len(blocks) for blocks in self.blocks[shard]]

    def serving(self, shard: int) -> int:
        """The order that a shard serves with: the longest, the first of several."""
        left = self.left(shard)
        return left.index(max(left))

    def untouched(self, shard: int, order: int, forget_rows: Ints) -> int:
        """How many of an order's blocks never saw the given rows."""
        left = len(self.blocks[shard][order])
        hit = set(self.slice[forget_rows[self.shard[forget_rows] == shard]].tolist())
        sequence = order_of(order, orders=self.orders, slices=self.slices)
        for position in range(left):
            if int(sequence[position]) in hit:
                return position
        return left

    def without(self, forget_rows: Ints) -> BlockLog:
        """The log without some rows, and without every block that saw one of them."""
        blocks = []
        for shard, by_order in enumerate(self.blocks):
            kept = []
            for order, own in enumerate(by_order):
                kept.append(own[: self.untouched(shard, order, forget_rows)])
            blocks.append(tuple(kept))

        forgotten = np.isin(np.arange(len(self.shard)), forget_rows)
        return replace(
            self,
            shard=np.where(forgotten, -1, self.shard),
            slice=np.where(forgotten, -1, self.slice),
            blocks=tuple(blocks),
        )

    def save(self, path: Path) -> None:
        """Write to a file."""
        # Plain tensors, lists and values
        shards = []
        for by_order in self.blocks:
            shards.append([list(map(dict, own)) for own in by_order])

        values = {
            "shard": torch.tensor(self.shard),
            "slice": torch.tensor(self.slice),
            "slices": self.slices,
            "blocks": shards,
            "adapters": self.adapters,
            "base": self.base,
        }
        save_log(path, _KIND, values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MethodError: The file is damaged, or another method's.
        """
        values = load_log(path, _KIND)
        blocks = tuple(tuple(map(tuple, by_order)) for by_order in values["blocks"])
        return cls(
            values["shard"].numpy(),
            values["slice"].numpy(),
            values["slices"],
            blocks,
            values["adapters"],
            values["base"],
        )


@final
class BlocksUnderWay:
    """A training by blocks under way, as a resumable part: the blocks and the epochs so far.

    Args:
        log: What there is; its blocks are copied into lists, to which a training adds.
    """

    def __init__(self, log: BlockLog) -> None:
        self._log = log
        self.blocks = [list(map(list, by_order)) for by_order in log.blocks]
        self.epochs: list[dict[str, Any]] = []

    def rows(self, shard: int, order: int, last: int) -> Ints:
        """Rows that a block is trained on: of the order's slices up to a position, sorted."""
        sequence = order_of(order, orders=self._log.orders, slices=self._log.slices)
        known = np.isin(self._log.slice, sequence[: last + 1])
        return np.flatnonzero((self._log.shard == shard) & known)

    def of(self, shard: int, order: int) -> Sequence[Block]:
        """The blocks of an order so far."""
        return self.blocks[shard][order]

    def add(self, shard: int, order: int, block: Block) -> None:
        """The next block of an order."""
        self.blocks[shard][order].append(block)

    def log(self) -> BlockLog:
        """The log of what there is now."""
        return replace(
            self._log, blocks=tuple(tuple(map(tuple, by_order)) for by_order in self.blocks)
        )

    def state_dict(self) -> dict[str, Any]:
        """What changes from block to block."""
        return {"blocks": self.blocks, "epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Restore it."""
        self.blocks = state_dict["blocks"]
        self.epochs = state_dict["epochs"]
