"""The sorted tree against a slow oracle: every proof holds, and no wrong one does."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.errors import EvidenceError
from forgetmi.evidence.merkle import Absence, Inclusion, MerkleTree

DIGEST = st.binary(min_size=32, max_size=32).map(bytes.hex)
SETS = st.sets(DIGEST, max_size=20)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def slow_root(leaves: list[str]) -> str:
    """RFC 9162, section 2.1.1, written as the recursion it is: split at the largest power of two below n."""

    def top(some: list[str]) -> bytes:
        if len(some) == 1:
            return sha(b"\x00", bytes.fromhex(some[0]))
        split = 1
        while split * 2 < len(some):
            split *= 2
        return sha(b"\x01", top(some[:split]), top(some[split:]))

    return sha(b"\x02", len(leaves).to_bytes(8, "big"), top(leaves) if leaves else b"").hex()


@given(SETS)
def test_root_equals_the_recursion(leaves: set[str]) -> None:
    assert MerkleTree.of(leaves).root == slow_root(sorted(leaves))


@given(SETS, DIGEST)
def test_every_leaf_is_proven_in_or_out(leaves: set[str], other: str) -> None:
    tree = MerkleTree.of(leaves)
    for leaf in {*leaves, other}:
        proof = tree.prove(leaf)
        assert proof.leaf == leaf
        assert isinstance(proof, Inclusion if leaf in leaves else Absence)
        assert proof.holds(tree.root, len(tree))


@given(st.sets(DIGEST, min_size=1, max_size=20), st.data())
def test_no_proof_of_absence_for_a_leaf_that_is_there(
    leaves: set[str], data: st.DataObject
) -> None:
    tree = MerkleTree.of(leaves)
    leaf = data.draw(st.sampled_from(sorted(leaves)))
    places = [None, *(proof for one in leaves if isinstance(proof := tree.prove(one), Inclusion))]
    assert not any(
        Absence(leaf, left, right).holds(tree.root, len(tree))
        for left in places
        for right in places
    )


@given(st.sets(DIGEST, min_size=2, max_size=20), DIGEST, st.data())
def test_no_proof_survives_a_change(leaves: set[str], other: str, data: st.DataObject) -> None:
    tree = MerkleTree.of(leaves)
    proof = tree.prove(data.draw(st.sampled_from(sorted(leaves))))
    assert isinstance(proof, Inclusion)
    changed = [
        dataclasses.replace(proof, index=proof.index + 1),
        dataclasses.replace(proof, path=proof.path[:-1]),
        dataclasses.replace(proof, path=(*proof.path, other)),
        dataclasses.replace(proof, index=-1),
    ]
    if proof.leaf != other:
        changed.append(dataclasses.replace(proof, leaf=other))
    assert not any(one.holds(tree.root, len(tree)) for one in changed)
    assert not proof.holds(tree.root, len(tree) + 1)
    assert (
        not proof.holds(MerkleTree.of({*leaves, other}).root, len({*leaves, other}))
        or other in leaves
    )


def test_a_node_is_no_leaf() -> None:
    """Without separate prefixes, the hash of two leaves could be passed off as a leaf of a smaller tree."""
    leaves = sorted(hashlib.sha256(bytes([number])).hexdigest() for number in range(2))
    joined = sha(b"\x01", *(sha(b"\x00", bytes.fromhex(leaf)) for leaf in leaves)).hex()
    assert MerkleTree.of([joined]).root != MerkleTree.of(leaves).root


def test_unsorted_and_repeated_leaves_are_refused() -> None:
    with pytest.raises(EvidenceError, match="sorted and distinct"):
        MerkleTree(("bb" * 32, "aa" * 32))
    assert len(MerkleTree.of(["aa" * 32, "aa" * 32])) == 1


def test_the_empty_tree_proves_everything_absent() -> None:
    tree = MerkleTree.of([])
    proof = tree.prove("aa" * 32)
    assert proof.holds(tree.root, 0)
    assert not proof.holds(MerkleTree.of(["bb" * 32]).root, 1)
