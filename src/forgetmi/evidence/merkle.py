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


def _leaf(content: str) -> bytes:
    return hashlib.sha256(b"\x00" + bytes.fromhex(content)).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _root(count: int, top: bytes) -> str:
    return hashlib.sha256(b"\x02" + count.to_bytes(8, "big") + top).hexdigest()


@final
@dataclass(frozen=True)
class Inclusion:
    """Shows that a leaf stands at a place.

    Args:
        leaf: The leaf, hex.
        index: Its place among the sorted leaves, from 0.
        path: Hashes of the siblings from the leaf to the top, hex.
    """

    leaf: str
    index: int
    path: tuple[str, ...]

    def holds(self, root: str, count: int) -> bool:
        """Whether the leaf stands there, in the tree of that root and number of leaves."""
        if not 0 <= self.index < count:
            return False
        hashed, index, width, siblings = _leaf(self.leaf), self.index, count, list(self.path)
        while width > 1:
            if index % 2 or index + 1 < width:
                if not siblings:
                    return False
                sibling = bytes.fromhex(siblings.pop(0))
                hashed = _node(sibling, hashed) if index % 2 else _node(hashed, sibling)
            index, width = index // 2, (width + 1) // 2
        return not siblings and _root(count, hashed) == root


@final
@dataclass(frozen=True)
class Absence:
    """Shows that a leaf is missing: its two neighbours stand next to each other.

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
        if self.left is None and self.right is None:
            return count == 0 and root == _root(0, b"")
        index = 0 if self.left is None else self.left.index + 1
        if self.left is not None and not (
            self.left.leaf < self.leaf and self.left.holds(root, count)
        ):
            return False
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
        if any(a >= b for a, b in zip(self.leaves, self.leaves[1:], strict=False)):
            raise EvidenceError(Fault("the leaves of a sorted tree must be sorted and distinct"))
        levels = [tuple(map(_leaf, self.leaves))]
        while len(levels[-1]) > 1:
            below = levels[-1]
            pairs = [_node(a, b) for a, b in zip(below[::2], below[1::2], strict=False)]
            levels.append((*pairs, below[-1]) if len(below) % 2 else tuple(pairs))
        object.__setattr__(self, "_levels", tuple(levels))

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
        at = bisect_left(self.leaves, digest)
        return at < len(self.leaves) and self.leaves[at] == digest

    def _at(self, place: int) -> Inclusion:
        path, index = [], place
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                path.append(level[sibling].hex())
            index //= 2
        return Inclusion(self.leaves[place], place, tuple(path))

    def prove(self, digest: str) -> Inclusion | Absence:
        """The proof that a digest is in the tree, or that it is not."""
        at = bisect_left(self.leaves, digest)
        if digest in self:
            return self._at(at)
        return Absence(
            digest,
            self._at(at - 1) if at else None,
            self._at(at) if at < len(self.leaves) else None,
        )
