"""A sorted Merkle tree: one root for a set of digests, proofs that a digest is in it, and that one is not.

Leaves and nodes are hashed under different prefixes, and an odd last node moves up unchanged, as in RFC 9162, section
2.1. Deviations: the leaves are sorted and distinct, and the root covers their number, so that two neighbouring leaves
(or one at an end) show that nothing lies between them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

from forgetmi.core.errors import EvidenceError, Fault


# Leaves, nodes and roots are hashed under prefixes of their own, so that none can stand for another
def _leaf(content: str) -> bytes:
    return hashlib.sha256(b"\x00" + bytes.fromhex(content)).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _root(count: int, top: bytes) -> str:
    return hashlib.sha256(b"\x02" + count.to_bytes(8, "big") + top).hexdigest()


@final
@dataclass(frozen=True)
class Inclusion:
    """Shows that a leaf has a certain place in a tree.

    Args:
        leaf: The leaf, hex.
        index: Its place among the sorted leaves, from 0.
        path: Hashes of the siblings from the leaf to the top, hex.
    """

    leaf: str
    index: int
    path: tuple[str, ...]

    def holds(self, root: str, count: int) -> bool:
        """Whether the leaf has that place, in the tree of that root and number of leaves."""
        if not 0 <= self.index < count:
            return False

        # From the leaf to the top, with the sibling at each level that has one
        hashed = _leaf(self.leaf)
        index, width = self.index, count
        siblings = list(self.path)
        while width > 1:
            is_right = index % 2 == 1
            if is_right or index + 1 < width:
                if not siblings:
                    return False
                sibling = bytes.fromhex(siblings.pop(0))
                hashed = _node(sibling, hashed) if is_right else _node(hashed, sibling)
            index = index // 2
            width = (width + 1) // 2

        # Nothing may be left over
        return not siblings and _root(count, hashed) == root


@final
@dataclass(frozen=True)
class Absence:
    """Shows that a leaf is missing: its two neighbours are next to each other.

    Args:
        leaf: What is missing, hex.
        left: The neighbour below; None = it would be the first.
        right: The neighbour above; None = it would be the last.
    """

    leaf: str
    left: Inclusion | None
    right: Inclusion | None

    def holds(self, root: str, count: int) -> bool:
        """Whether the leaf is missing from the tree of that root and number of leaves, whose leaves are sorted."""
        # An empty tree has no neighbours
        if self.left is None and self.right is None:
            return count == 0 and root == _root(0, b"")

        # The left neighbour is smaller and in the tree
        index = 0
        if self.left is not None:
            index = self.left.index + 1
            if self.left.leaf >= self.leaf or not self.left.holds(root, count):
                return False

        # The right one comes directly after it, or the left one is the last leaf
        if self.right is None:
            return index == count
        return (
            self.right.index == index
            and self.leaf < self.right.leaf
            and self.right.holds(root, count)
        )


@final
@dataclass(frozen=True)
class MerkleTree:
    """A tree over a set of digests.

    Args:
        leaves: Distinct digests, hex, sorted; make one with `of`.
    """

    leaves: tuple[str, ...]
    _levels: tuple[tuple[bytes, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pairs = zip(self.leaves, self.leaves[1:], strict=False)
        if any(first >= second for first, second in pairs):
            raise EvidenceError(Fault("the leaves of a sorted tree must be sorted and distinct"))
        object.__setattr__(self, "_levels", _levels_above(self.leaves))

    @classmethod
    def of(cls, digests: Iterable[str]) -> MerkleTree:
        """The tree over any digests; repeated ones count once."""
        return cls(tuple(sorted(set(digests))))

    @property
    def root(self) -> str:
        """The root, hex."""
        return _root(len(self.leaves), self._levels[-1][0] if self.leaves else b"")

    def __len__(self) -> int:
        return len(self.leaves)

    def __contains__(self, digest: str) -> bool:
        place = bisect_left(self.leaves, digest)
        return place < len(self.leaves) and self.leaves[place] == digest

    def prove(self, digest: str) -> Inclusion | Absence:
        """The proof that a digest is in the tree, or that it is not."""
        place = bisect_left(self.leaves, digest)
        if digest in self:
            return self._inclusion(place)

        # Its neighbours: the leaves before and after the place where it would be
        left = self._inclusion(place - 1) if place else None
        right = self._inclusion(place) if place < len(self.leaves) else None
        return Absence(digest, left, right)

    def _inclusion(self, place: int) -> Inclusion:
        """The proof of the leaf at a place: its siblings from the leaf to the top."""
        path = []
        index = place
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):  # an odd last node has none
                path.append(level[sibling].hex())
            index //= 2
        return Inclusion(self.leaves[place], place, tuple(path))


def _levels_above(leaves: tuple[str, ...]) -> tuple[tuple[bytes, ...], ...]:
    """Hashes of all levels, from the leaves to the top."""
    levels = [tuple(_leaf(leaf) for leaf in leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = []
        for left, right in zip(below[::2], below[1::2], strict=False):
            level.append(_node(left, right))
        if len(below) % 2:  # an odd last node moves up unchanged
            level.append(below[-1])
        levels.append(tuple(level))
    return tuple(levels)
