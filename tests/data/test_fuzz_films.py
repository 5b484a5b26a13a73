"""Whatever stands in a cache's files: right films or none, and never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.errors import CohortError
from forgetmi.data.cache_key import TAG, cache_key
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.seen_files import SeenFiles
from forgetmi.data.shard_folder import ShardFolder
from forgetmi.data.shard_journal import ShardJournal, read_journal
from tests.fuzzing import damaged, fuzz

pytestmark = pytest.mark.slow

SIZE = 8
SMALL = ImagePreprocessing(size=SIZE)


@pytest.fixture
def cache(make_cohort, tmp_path: Path) -> Path:
    """A cache of five small films; notices are among them."""
    np.save(tmp_path / "films.npy", films())
    locators = [f"{tmp_path / 'films.npy'}#{number}" for number in range(5)]
    build_image_store(make_cohort(locators), SMALL, cache=tmp_path / "cache")
    return tmp_path / "cache"


def films() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE), np.uint8)


def test_fuzz_shards(cache: Path, tmp_path: Path) -> None:
    (shard,) = cache.rglob("*.u16")
    whole = shard.read_bytes()
    key = cache_key(cache / "decoded-films")
    seen = SeenFiles(cache / "decoded-films" / "seen.bin", key)
    contents = {
        content: films()[index].astype(np.uint16) * np.uint16(257)
        for index in range(5)
        for content in seen.contents([(str(tmp_path / "films.npy"), index)]).popitem()[1]
    }
    assert len(contents) == 5

    @given(damaged(whole))
    def only_right_films(content: bytes) -> None:
        for path in shard.parent.iterdir():
            path.unlink()
        shard.write_bytes(content)

        folder = ShardFolder(shard.parent, SIZE, key, before_publishing=lambda: None)
        held = [digest for digest in contents if folder.holds(digest)]
        folder.close()
        for digest in held:
            number, slot = folder.place(digest)
            np.testing.assert_array_equal(folder.pixels(number)[slot], contents[digest])

    fuzz(only_right_films)


def test_fuzz_the_index(cache: Path) -> None:
    path = cache / "decoded-films" / "seen.bin"
    whole = path.read_bytes()
    key = cache_key(path.parent)
    known = SeenFiles(path, key).all_contents()

    @given(damaged(whole))
    def all_or_nothing(content: bytes) -> None:
        path.write_bytes(content)
        found = SeenFiles(path, key).all_contents()
        assert found == known if content == whole else found in (set(), known)

    fuzz(all_or_nothing)


def test_fuzz_a_whole_cache(make_cohort, cache: Path, tmp_path: Path) -> None:
    locators = [f"{tmp_path / 'films.npy'}#{number}" for number in range(5)]
    expected = films().astype(np.float32)[:, None] / 255
    kept = shutil.copytree(cache, tmp_path / "kept")
    names = sorted(path.relative_to(kept) for path in kept.rglob("*") if path.is_file())

    @given(st.data())
    def the_films_come_out(data: st.DataObject) -> None:
        shutil.rmtree(cache)
        shutil.copytree(kept, cache)
        for name in data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True)):
            (cache / name).write_bytes(data.draw(damaged((kept / name).read_bytes())))

        store = build_image_store(make_cohort(locators), SMALL, cache=cache)
        np.testing.assert_allclose(store.images(np.arange(5)), expected, atol=1e-6)

    fuzz(the_films_come_out)


def test_fuzz_stacks(make_cohort, tmp_path: Path) -> None:
    path = tmp_path / "films.npy"
    np.save(path, films())
    whole = path.read_bytes()

    @given(damaged(whole[:200]))
    def read_or_refused(head: bytes) -> None:
        path.write_bytes(head + whole[200:])
        try:
            store = build_image_store(
                make_cohort([f"{path}#0", f"{path}#3"]), SMALL, cache=tmp_path / "cache"
            )
        except CohortError:
            return
        assert store.images(np.arange(2)).shape == (2, 1, SIZE, SIZE)

    fuzz(read_or_refused)


def test_fuzz_journals(cache: Path) -> None:
    key = cache_key(cache / "decoded-films")
    path = cache / "some.journal.partial"
    entries = [(bytes([n] * TAG), bytes([n + 9] * TAG), ["16 bits"] * n) for n in range(4)]
    journal = ShardJournal(path, key)
    for entry in entries:
        journal.add(*entry)
    journal.close()
    whole = path.read_bytes()
    assert list(read_journal(path, key)) == entries

    @given(damaged(whole))
    def the_first_whole_entries_alone(content: bytes) -> None:
        path.write_bytes(content)
        found = list(read_journal(path, key))
        assert found == entries[: len(found)]

    fuzz(the_first_whole_entries_alone)
