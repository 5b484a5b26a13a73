"""Digests of alike spellings in arrays: the same as in a dictionary."""

import pickle

import numpy as np
import pytest

from forgetmi.cohort.alike_digests import AlikeDigests
from forgetmi.cohort.files import read_strings
from forgetmi.cohort.identity import RULES


def entries(count: int) -> list[tuple[str, str, tuple[str, ...]]]:
    """Drawn digests, a third of them shared by two identifiers, with drawn rules."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(count):
        shared, identifier = draw.integers(0, 2**63, 2).tolist()
        rules = tuple(rule for rule in RULES if draw.integers(2))
        found.append((f"{shared:016x}", f"{2 * identifier + 1:016x}", rules))
    return found + [(shared, "0" * 16, ()) for shared, _, _ in found[::3]]


def test_is_what_a_dictionary_of_the_first_owners_is():
    expected: dict[str, tuple[str, tuple[str, ...]]] = {}
    for shared, identifier, rules in entries(100):
        expected.setdefault(shared, (identifier, rules))

    found = pickle.loads(pickle.dumps(AlikeDigests(entries(100))))
    assert dict(found) == expected
    assert len(found) == len(expected)


def test_does_not_know_others():
    found = AlikeDigests(entries(20))
    assert "f" * 16 not in found
    assert "0" * 16 not in found
    with pytest.raises(KeyError):
        found["0123456789abcdef"]


def test_of_nothing_is_empty():
    assert not AlikeDigests([])
    assert "0" * 16 not in AlikeDigests([])


def test_a_cell_that_repeats_the_one_above_is_kept_once(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\nsome text,1\nsome text,2\nother text,3\n")
    column = read_strings(tmp_path / "t.csv").columns["a"]
    assert column.tolist() == ["some text", "some text", "other text"]
    assert column[0] is column[1]
