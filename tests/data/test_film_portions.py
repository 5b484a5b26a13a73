"""Films in portions: the store does not show who read them, and nothing that was finished is decoded twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import forgetmi.data.film_portions as portions_module
import forgetmi.data.image_file as image_file_module
from forgetmi.core.errors import CohortError
from forgetmi.data.decode import read_image
from forgetmi.data.film_portions import Portion
from forgetmi.data.film_reading import film_places
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing

SMALL = ImagePreprocessing(size=16)


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of two films, however few there are."""
    monkeypatch.setattr(portions_module, "_WORTH", 0)
    monkeypatch.setattr(portions_module, "_FEWEST", 2)


class Backwards:
    """Reads portions in this process, the last first."""

    def __init__(self) -> None:
        self.portions: list[Portion] = []

    def __call__(self, work: Any, portions: Any, *, answered: Any, progress: Any) -> None:
        for number, portion in reversed(list(enumerate(portions))):
            self.portions.append(portion)
            answered(work(portion, lambda done, total, number=number: progress(number, done)))


def test_the_store_is_that_of_one_process(make_cohort, pictures, tmp_path) -> None:
    cohort = make_cohort([*pictures[:3], "", *pictures[3:], pictures[0]])
    alone = build_image_store(cohort, SMALL, cache=tmp_path / "alone")
    spread = Backwards()
    shared = build_image_store(cohort, SMALL, cache=tmp_path / "shared", spread=spread)

    assert [len(portion.places) for portion in spread.portions] == [2, 2, 2, 2]
    assert shared.digest == alone.digest
    assert shared.content.tolist() == alone.content.tolist()
    assert shared.notices == alone.notices
    rows = np.arange(len(cohort))
    np.testing.assert_array_equal(shared.images(rows), alone.images(rows))


def test_what_is_known_is_not_given_away(make_cohort, pictures, tmp_path) -> None:
    build_image_store(make_cohort(pictures[:5]), SMALL, cache=tmp_path / "cache")
    spread = Backwards()
    build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache", spread=spread)
    given = [place.path for portion in spread.portions for place in portion.places]
    assert sorted(given) == sorted(pictures[5:])


def test_a_known_film_under_another_name_is_not_decoded(
    make_cohort, pictures, tmp_path, monkeypatch
) -> None:
    build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    moved = [str(Path(path).rename(Path(path).with_suffix(".moved.png"))) for path in pictures]
    monkeypatch.setattr(image_file_module, "read_image", None)
    store = build_image_store(
        make_cohort(moved), SMALL, cache=tmp_path / "cache", spread=Backwards()
    )
    assert len(store.shards) == 1


def test_a_known_film_that_is_damaged_is_decoded_here(make_cohort, pictures, tmp_path) -> None:
    alone = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    (shard,) = (tmp_path / "cache").rglob("*.u16")
    content = bytearray(shard.read_bytes())
    content[0] ^= 1
    shard.write_bytes(content)
    moved = [str(Path(path).rename(Path(path).with_suffix(".moved.png"))) for path in pictures]
    store = build_image_store(
        make_cohort(moved), SMALL, cache=tmp_path / "cache", spread=Backwards()
    )
    assert store.damaged == 1
    assert store.digest == alone.digest
    expected = SMALL.apply(read_image(moved[0]).pixels)
    np.testing.assert_allclose(store.images(np.arange(1))[0, 0], expected, atol=1e-4)


def test_faults_of_all_portions_are_told_by_row(make_cohort, pictures, tmp_path) -> None:
    for path in (pictures[1], pictures[6]):
        Path(path).write_bytes(Path(path).read_bytes()[:40])
    cohort = make_cohort([*pictures, str(tmp_path / "gone.png")])
    with pytest.raises(CohortError) as caught:
        build_image_store(cohort, SMALL, cache=tmp_path / "cache", spread=Backwards())
    told = [fault.where for fault in caught.value.faults]
    assert [text.split(",")[0] for text in told] == ["test row 2", "test row 7", "test row 9"]
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(CohortError) as alone:
        build_image_store(cohort, SMALL, cache=tmp_path / "alone")
    assert caught.value.faults == alone.value.faults


def test_progress_counts_what_is_there_and_goes_to_the_end(make_cohort, pictures, tmp_path) -> None:
    build_image_store(make_cohort(pictures[:2]), SMALL, cache=tmp_path / "cache")
    steps: list[tuple[int, int]] = []
    build_image_store(
        make_cohort(pictures),
        SMALL,
        cache=tmp_path / "cache",
        progress=lambda done, total: steps.append((done, total)),
        spread=Backwards(),
    )
    sent = [step for step in steps if step[0] > 2]
    assert sent == [(done, 8) for done in range(3, 9)]


def test_little_work_is_not_given_away(make_cohort, pictures, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(portions_module, "_WORTH", 10**6)
    spread = Backwards()
    build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache", spread=spread)
    assert not spread.portions


_KILLED = textwrap.dedent("""
    import os, pickle, signal, sys
    from forgetmi.data.film_portions import read_portion
    portion = pickle.load(sys.stdin.buffer)
    def progress(done, total):
        if done == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    read_portion(portion, progress)
""")


def test_of_a_killed_process_no_film_is_decoded_again(
    make_cohort, pictures, tmp_path, monkeypatch
) -> None:
    import pickle

    cohort = make_cohort(pictures)
    build_image_store(make_cohort([""]), SMALL, cache=tmp_path / "cache")
    (folder,) = [path for path in (tmp_path / "cache" / "decoded-films").iterdir() if path.is_dir()]
    portion = Portion(folder, SMALL, tuple(film_places(pictures)), ())
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED], input=pickle.dumps(portion), check=False
    )
    assert ended.returncode == -signal.SIGKILL

    decoded: list[str] = []

    def counting(locator: str) -> Any:
        decoded.append(locator)
        return read_image(locator)

    monkeypatch.setattr(image_file_module, "read_image", counting)
    store = build_image_store(cohort, SMALL, cache=tmp_path / "cache", spread=Backwards())
    assert sorted(decoded) == sorted(pictures)[3:]
    assert store.digest == build_image_store(cohort, SMALL, cache=tmp_path / "clean").digest


def test_a_shard_that_went_meanwhile_is_read_again(make_cohort, pictures, tmp_path) -> None:
    class Forgetful(Backwards):
        def __call__(self, work: Any, portions: Any, *, answered: Any, progress: Any) -> None:
            def lost(answer: Any) -> None:
                for name in answer.shards[:1]:
                    (portions[0].folder / name).unlink()
                answered(answer)

            super().__call__(work, portions, answered=lost, progress=progress)

    cohort = make_cohort(pictures)
    store = build_image_store(cohort, SMALL, cache=tmp_path / "cache", spread=Forgetful())
    assert store.digest == build_image_store(cohort, SMALL, cache=tmp_path / "clean").digest
