"""Tables of tags in arrays: the same answers as dictionaries."""

from pathlib import Path

import numpy as np
import pytest

from forgetmi.data.cache_key import TAG, CacheKey
from forgetmi.data.seen_files import SeenFiles
from forgetmi.data.tag_table import Digests, Records, TagPlaces


def tags(count: int, *, seed: int = 0, length: int = TAG) -> list[bytes]:
    """Drawn tags, a few of which share their first eight bytes."""
    draw = np.random.default_rng(seed)
    found = [draw.bytes(length) for _ in range(count)]
    return [*found, *(tag[:8] + draw.bytes(length - 8) for tag in found[::5])]


def test_records_are_found_by_their_keys():
    known = {tag: tag[::-1] for tag in tags(50, length=32)}
    records = Records(b"".join(key + value for key, value in known.items()), 32, 32)
    assert dict(records) == known
    assert {key: records.get(key) for key in known} == known
    assert all(records.get(other) is None for other in tags(20, seed=1, length=32))
    assert Records(b"", 32, 32).get(bytes(32)) is None


def test_places_answer_as_a_dictionary_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("forgetmi.data.tag_table._RECENT", 7)
    draw = np.random.default_rng(2)
    known = tags(40)
    places, expected = TagPlaces(), {}
    for step in range(400):
        tag = known[int(draw.integers(len(known)))]
        if draw.random() < 0.3 and tag in expected:
            del places[tag], expected[tag]
        else:
            places[tag] = expected[tag] = step

    assert {tag: places[tag] for tag in known if tag in places} == expected
    with pytest.raises(KeyError):
        del places[bytes(TAG)]


def test_digests_that_are_not_known_are_none():
    digests = Digests(3)
    digests[1] = bytes(range(32))
    assert dict(digests) == {1: bytes(range(32))}
    assert digests.get(0) is None
    digests.update({2: bytes(32)})
    assert list(digests) == [1, 2]
    del digests[1]
    assert len(digests) == 1


def test_the_last_state_of_each_content_of_a_path_is_kept(tmp_path: Path):
    key = CacheKey(bytes(32))
    draw = np.random.default_rng(3)
    paths, contents = tags(4)[:4], tags(4, seed=5, length=32)[:4]
    expected: dict[bytes, bytes] = {}
    for state in tags(60, seed=4)[:60]:
        path, content = paths[int(draw.integers(4))], contents[int(draw.integers(4))]
        seen = SeenFiles(tmp_path / "seen.bin", key)
        seen.take_over({path + state: content})
        seen.save()
        for entry in [known for known in expected if known[:TAG] == path]:
            if expected[entry] == content:
                del expected[entry]
        expected[path + state] = content

    found = SeenFiles(tmp_path / "seen.bin", key)
    assert len(found) == len(expected)
    assert found.new == {}
    assert dict(found._all()) == expected
