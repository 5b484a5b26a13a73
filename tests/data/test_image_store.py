"""The image store: right pixels, one decoding per distinct image, all faults at once, nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import forgetmi.data.image_file as image_file_module
import forgetmi.data.shard_file as shard_file_module
import forgetmi.data.shards as shards_module
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, SpecError
from forgetmi.data.decode import Decoded, read_image
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from tests.processes import started

SMALL = ImagePreprocessing(size=16)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The locators that were decoded, in order."""
    calls: list[str] = []

    def counting(locator: str) -> Decoded:
        calls.append(locator)
        return read_image(locator)

    monkeypatch.setattr(image_file_module, "read_image", counting)
    return calls


@given(st.integers(1, 60), st.integers(1, 60), st.integers(8, 40))
def test_pad_keeps_the_aspect_and_centres_on_zeros(height: int, width: int, size: int) -> None:
    out = ImagePreprocessing(size=size).apply(np.full((height, width), 0.75, np.float32))
    rows, columns = np.flatnonzero(out.any(1)), np.flatnonzero(out.any(0))
    assert max(len(rows), len(columns)) == size
    assert abs(len(rows) * width - len(columns) * height) <= max(
        height, width
    )  # to half a pixel of the short side
    assert abs(rows[0] - (size - 1 - rows[-1])) <= 1
    assert abs(columns[0] - (size - 1 - columns[-1])) <= 1
    np.testing.assert_allclose(out[np.ix_(rows, columns)], 0.75, atol=1e-6)


def test_pad_leaves_an_image_of_the_right_size_alone() -> None:
    pixels = np.random.default_rng(0).random((16, 16), np.float32)
    np.testing.assert_array_equal(SMALL.apply(pixels), pixels)


def test_pad_is_antialiased() -> None:
    stripes = np.zeros((256, 256), np.float32)
    stripes[:, ::2] = 1.0
    np.testing.assert_allclose(SMALL.apply(stripes)[2:-2, 2:-2], 0.5, atol=0.02)


def test_pad_stays_within_zero_and_one() -> None:
    edge = np.zeros((50, 50), np.float32)
    edge[:, 25:] = 1.0
    out = ImagePreprocessing(size=40).apply(edge)
    assert out.min() == 0.0
    assert out.max() == 1.0


@pytest.mark.parametrize(
    ("side", "before", "kept"), [(20, 0, 16), (16, 0, 16), (10, 3, 10), (11, 2, 11), (15, 1, 15)]
)
def test_center_crop_is_that_of_the_release(side: int, before: int, kept: int) -> None:
    pixels = np.arange(1, side * side + 1, dtype=np.float32).reshape(side, side) / (side * side)
    out = ImagePreprocessing(size=16, fit="center_crop").apply(pixels)
    margin = (
        max(0, 16 - side) // 2 + 4
    )  # each side, then the centre from floor((height - size) / 2)
    start = (side + 2 * margin - 16) // 2 - margin
    expected = np.zeros((16, 16), np.float32)
    for y in range(16):
        for x in range(16):
            if 0 <= y + start < side and 0 <= x + start < side:
                expected[y, x] = pixels[y + start, x + start]
    np.testing.assert_array_equal(out, expected)
    assert out.any(1).sum() == kept
    assert not out[:before].any()


@pytest.mark.parametrize("shape", [(30, 64), (64, 30), (16, 16)])
def test_stretch_fills_the_square(shape: tuple[int, int]) -> None:
    pixels = np.full(shape, 0.5, np.float32)
    pixels[: shape[0] // 2] = 0.25
    made = ImagePreprocessing(size=16, fit="stretch").apply(pixels)
    assert made.shape == (16, 16)
    assert np.allclose(made[:6], 0.25, atol=0.02)
    assert np.allclose(made[10:], 0.5, atol=0.02)


def test_bad_preprocessing_reports_every_fault() -> None:
    with pytest.raises(SpecError) as caught:
        ImagePreprocessing(size=2, fit="squeeze")  # pyright: ignore[reportArgumentType]
    assert len(caught.value.faults) == 2


def test_images_are_those_of_the_files(make_cohort, pictures, tmp_path) -> None:
    locators = [pictures[2], "", pictures[0], pictures[2]]
    store = build_image_store(make_cohort(locators), SMALL, cache=tmp_path / "cache")
    images = store.images(np.array([3, 1, 2, 0]))
    assert images.shape == (4, 1, 16, 16)
    assert images.dtype == np.float32
    for image, locator in zip(images, [pictures[2], "", pictures[0], pictures[2]], strict=True):
        expected = SMALL.apply(read_image(locator).pixels) if locator else np.zeros((16, 16))
        np.testing.assert_allclose(image[0], expected, atol=0.5 / 65535 + 1e-7)
    assert not any(shard.flags.writeable for shard in store.shards)


def test_a_cohort_without_images_gives_zeros(make_cohort, tmp_path) -> None:
    store = build_image_store(make_cohort(["", ""]), SMALL, cache=tmp_path / "cache")
    assert store.images(np.array([1, 0])).tolist() == np.zeros((2, 1, 16, 16)).tolist()


def test_each_distinct_image_is_decoded_once(make_cohort, pictures, tmp_path, decoded) -> None:
    copy = shutil.copy(pictures[0], tmp_path / "copy.png")
    store = build_image_store(
        make_cohort([pictures[0], str(copy), pictures[1], pictures[0]]),
        SMALL,
        cache=tmp_path / "cache",
    )
    assert len(decoded) == 2
    assert sum(len(shard) for shard in store.shards) == 2
    for _ in range(2):
        store.images(np.arange(4))
    assert len(decoded) == 2


@pytest.mark.parametrize("chosen", [[0, 1, 2], [5, 3, 1], list(range(7, -1, -1)), [4, 4, 4]])
def test_known_images_are_neither_read_nor_decoded_again(
    make_cohort,
    pictures,
    tmp_path,
    decoded,
    monkeypatch,
    chosen,
) -> None:
    build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    assert len(decoded) == 8
    opened: list[str] = []
    monkeypatch.setattr(image_file_module.ImageFile, "_slice_content", opened.append)
    monkeypatch.setattr(image_file_module.hashlib, "file_digest", lambda *_: opened.append("read"))
    store = build_image_store(
        make_cohort([pictures[at] for at in chosen]), SMALL, cache=tmp_path / "cache"
    )
    assert (len(decoded), opened) == (8, [])
    monkeypatch.undo()
    whole = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "elsewhere")
    np.testing.assert_array_equal(
        store.images(np.arange(len(chosen))), whole.images(np.array(chosen))
    )


def test_a_larger_cohort_decodes_only_what_is_new(make_cohort, pictures, tmp_path, decoded) -> None:
    build_image_store(make_cohort(pictures[:3]), SMALL, cache=tmp_path / "cache")
    store = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    assert sorted(decoded) == sorted(pictures)
    assert len(store.shards) == 2


def test_another_preprocessing_has_images_of_its_own(
    make_cohort, pictures, tmp_path, decoded
) -> None:
    build_image_store(make_cohort(pictures[:2]), SMALL, cache=tmp_path / "cache")
    other = build_image_store(
        make_cohort(pictures[:2]), ImagePreprocessing(size=12), cache=tmp_path / "cache"
    )
    assert other.images(np.array([0])).shape == (1, 1, 12, 12)
    assert len(decoded) == 4


def test_a_changed_file_is_seen(make_cohort, pictures, tmp_path) -> None:
    cohort = make_cohort(pictures[:2])
    before = build_image_store(cohort, SMALL, cache=tmp_path / "cache")
    shutil.copy(pictures[5], pictures[0])
    after = build_image_store(cohort, SMALL, cache=tmp_path / "cache")
    assert before.digest != after.digest
    expected = build_image_store(make_cohort([pictures[5]]), SMALL, cache=tmp_path / "cache")
    np.testing.assert_array_equal(after.images(np.array([0])), expected.images(np.array([0])))


def test_a_file_just_written_is_not_taken_on_trust(make_cohort, tmp_path) -> None:
    path, stamp = tmp_path / "fresh.npy", None
    stores = []
    for value in (10, 200):
        np.save(path, np.full((16, 16), value, np.uint8))
        stamp = stamp or path.stat().st_mtime_ns
        os.utime(
            path, ns=(stamp, stamp)
        )  # a second write within the clock's resolution, of the same size
        stores.append(build_image_store(make_cohort([str(path)]), SMALL, cache=tmp_path / "cache"))
    assert [store.images(np.array([0])).max() * 255 for store in stores] == pytest.approx(
        [10, 200], abs=0.01
    )


@pytest.mark.parametrize("size", [16, 12])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_stack_is_read_like_single_images(make_cohort, tmp_path, size, dtype) -> None:
    rng = np.random.default_rng(1)
    stack = (rng.random((9, 16, 16)) * (1 if dtype is np.float32 else 255)).astype(dtype)
    stack[4] = stack[7]
    np.save(tmp_path / "stack.npy", stack)
    order = [3, 8, 0, 4, 7]
    preprocessing = ImagePreprocessing(size=size)
    store = build_image_store(
        make_cohort([f"{tmp_path / 'stack.npy'}#{at}" for at in order]),
        preprocessing,
        cache=tmp_path / "cache",
    )
    assert sum(len(shard) for shard in store.shards) == 4  # 4 and 7 are the same picture
    for image, at in zip(store.images(np.arange(5)), order, strict=True):
        np.save(tmp_path / "one.npy", stack[at])
        expected = preprocessing.apply(read_image(str(tmp_path / "one.npy")).pixels)
        np.testing.assert_allclose(image[0], expected, atol=0.5 / 65535 + 1e-7)


def test_every_fault_is_reported_by_row_and_never_by_path(
    make_cohort, pictures, tmp_path, decoded
) -> None:
    whole = Path(pictures[1]).read_bytes()
    Path(pictures[1]).write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "stack.npy", np.zeros((2, 16, 16), np.uint8))
    locators = [
        pictures[0],
        pictures[1],
        str(tmp_path / "gone-p10000032.png"),
        f"{tmp_path / 'stack.npy'}#7",
        pictures[1],
        pictures[2],
    ]
    with pytest.raises(CohortError) as caught:
        build_image_store(make_cohort(locators), SMALL, cache=tmp_path / "cache")
    faults = caught.value.faults
    assert len(faults) == 3
    for fault, row in zip(faults, (1, 2, 3), strict=True):
        assert f"row {row + 1}, patient {row:016x}, image {row:016x}" in fault.where
    assert "1 more of this file" in faults[0].where
    assert "more" not in faults[1].where
    assert str(tmp_path) not in str(caught.value)
    assert "p10000032" not in str(caught.value)
    decoded.clear()
    Path(pictures[1]).write_bytes(whole)
    store = build_image_store(make_cohort(pictures[:3]), SMALL, cache=tmp_path / "cache")
    assert decoded == [pictures[1]]  # the good ones were kept
    assert len(store) == 3


def test_notices_are_counted_also_from_the_cache(
    make_cohort, pictures, tmp_path, monkeypatch
) -> None:
    def noticing(locator: str) -> Decoded:
        return Decoded(read_image(locator).pixels, "colour" if locator in pictures[:2] else "")

    monkeypatch.setattr(image_file_module, "read_image", noticing)
    for _ in range(2):
        store = build_image_store(
            make_cohort([*pictures[:4], pictures[0]]), SMALL, cache=tmp_path / "cache"
        )
        assert dict(store.notices) == {"colour": 3}
    assert (
        dict(build_image_store(make_cohort(pictures[2:4]), SMALL, cache=tmp_path / "cache").notices)
        == {}
    )


def test_memory_stays_at_a_few_images(make_cohort, tmp_path) -> None:
    stack = np.random.default_rng(0).integers(0, 256, (1500, 64, 64), np.uint8)
    np.save(tmp_path / "stack.npy", stack)
    cohort = make_cohort([f"{tmp_path / 'stack.npy'}#{at}" for at in range(1500)])
    tracemalloc.start()
    try:
        store = build_image_store(cohort, ImagePreprocessing(), cache=tmp_path / "cache")
        for at in range(0, 1500, 16):
            store.images(np.arange(at, min(1500, at + 16)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.25 * 2 * stack.nbytes  # of which most are digests and places, some 1 kB a row


def test_no_path_is_written_to_the_cache(make_cohort, pictures, tmp_path) -> None:
    build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert b"picture" not in path.read_bytes()
        assert "picture" not in path.name


def test_progress_counts_to_the_end(make_cohort, pictures, tmp_path) -> None:
    steps: list[tuple[int, int]] = []
    build_image_store(
        make_cohort(pictures),
        SMALL,
        cache=tmp_path / "cache",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(done, 8) for done in range(1, 9)]


def test_many_shards_read_as_one(make_cohort, pictures, tmp_path, monkeypatch) -> None:
    whole = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "whole")
    monkeypatch.setattr(shards_module, "_SHARD_IMAGES", 3)
    split = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "split")
    assert [len(shard) for shard in split.shards] != [8]
    assert len(split.shards) == 3
    rows = np.array([7, 0, 3, 3, 5])
    np.testing.assert_array_equal(split.images(rows), whole.images(rows))
    assert split.digest == whole.digest


@pytest.mark.parametrize("full_after", [0, 2, 5])
def test_a_full_disk_is_said_and_leaves_nothing_wrong(
    make_cohort,
    pictures,
    tmp_path,
    monkeypatch,
    full_after,
) -> None:
    monkeypatch.setattr(shards_module, "_SHARD_IMAGES", 2)
    real, written = tempfile.NamedTemporaryFile, [0]

    def limited(*args, **kwargs):
        file = real(*args, **kwargs)
        write = file.write

        def guarded(content):
            written[0] += 1
            if written[0] > full_after:
                write(bytes(content)[:100])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(content)

        file.write = guarded
        return file

    monkeypatch.setattr(shard_file_module.tempfile, "NamedTemporaryFile", limited)
    with pytest.raises(CohortError, match="cache cannot be written") as caught:
        build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    assert "Free space" in caught.value.faults[0].do
    monkeypatch.undo()
    store = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    clean = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "clean")
    np.testing.assert_array_equal(store.images(np.arange(8)), clean.images(np.arange(8)))


def _build(cache: Path, die_at: int, locators: list[str], answer: Path) -> None:
    """What another process does: build a store, be killed when so many images are done, or say what it has built."""
    shards_module._SHARD_IMAGES = 3
    names = np.array([str(n) for n in range(len(locators))], object)
    images = np.array(locators, object)
    grades = np.zeros(len(names), np.int64)
    cohort = Cohort(
        "t",
        names,
        names,
        names,
        names,
        images,
        names,
        grades,
        names,
        ("a",),
        True,
        {},
        False,
        "0",
        "0",
    )

    def progress(done: int, total: int) -> None:
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store = build_image_store(cohort, SMALL, cache=cache, progress=progress)
    answer.write_text(f"{store.digest} {float(store.images(np.arange(len(names))).sum())}")


def _killed_at_five(tmp_path: Path, locators: list[str]) -> None:
    process = started(_build, tmp_path / "cache", 5, locators, tmp_path / "answer")
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_build_is_taken_up_again(make_cohort, pictures, tmp_path, decoded) -> None:
    _killed_at_five(tmp_path, pictures)
    left = list((tmp_path / "cache").rglob("*.partial"))
    assert len(left) == 2  # two images of a shard, and their journal
    store = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    assert sorted(decoded) == sorted(pictures)[5:]
    assert not list((tmp_path / "cache").rglob("*.partial"))
    clean = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "clean")
    np.testing.assert_array_equal(store.images(np.arange(8)), clean.images(np.arange(8)))
    assert store.digest == clean.digest


@pytest.mark.parametrize("harm", ["wrong pixels", "cut journal"])
def test_of_a_killed_build_only_what_is_whole_is_used(
    make_cohort, pictures, tmp_path, decoded, harm
) -> None:
    # The second of two unfinished images is damaged in the pixels or in the journal
    _killed_at_five(tmp_path, pictures)
    (journal,) = (tmp_path / "cache").rglob("*.journal.partial")
    (pixels,) = set((tmp_path / "cache").rglob("*.partial")) - {journal}
    damaged = journal if "journal" in harm else pixels
    content = damaged.read_bytes()
    tail = b"" if "cut" in harm else bytes([content[-1] ^ 1])
    damaged.write_bytes(content[:-1] + tail)

    store = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    assert sorted(decoded) == sorted(pictures)[4:]
    clean = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "clean")
    np.testing.assert_array_equal(store.images(np.arange(8)), clean.images(np.arange(8)))


def test_what_a_living_process_writes_is_left_alone(make_cohort, pictures, tmp_path) -> None:
    # Another reading of the same cache goes on while one is in the middle
    cohort = make_cohort(pictures)
    inner = []

    def progress(done: int, total: int) -> None:
        if done == 5:
            inner.append(build_image_store(cohort, SMALL, cache=tmp_path / "cache"))

    outer = build_image_store(cohort, SMALL, cache=tmp_path / "cache", progress=progress)
    assert inner[0].digest == outer.digest
    rows = np.arange(8)
    np.testing.assert_array_equal(inner[0].images(rows), outer.images(rows))


def test_a_leftover_of_an_ended_process_goes_in_the_end(make_cohort, pictures, tmp_path) -> None:
    cohort = make_cohort(pictures)
    build_image_store(cohort, SMALL, cache=tmp_path / "cache")
    (shard,) = (tmp_path / "cache").rglob("*.u16")
    left = shard.with_name("tmpleft.partial")
    left.touch()
    build_image_store(cohort, SMALL, cache=tmp_path / "cache")
    assert left.exists()
    os.utime(left, (1e9, 1e9))
    build_image_store(cohort, SMALL, cache=tmp_path / "cache")
    assert not left.exists()


def test_two_builds_at_once_agree(make_cohort, pictures, tmp_path) -> None:
    answers = [tmp_path / "one", tmp_path / "other"]
    processes = [started(_build, tmp_path / "cache", -1, pictures, answer) for answer in answers]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    clean = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "clean")
    expected = f"{clean.digest} {float(clean.images(np.arange(8)).sum())}"
    assert [answer.read_text() for answer in answers] == [expected, expected]


def test_a_damaged_shard_is_built_again(make_cohort, pictures, tmp_path, decoded) -> None:
    build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    pixels = next((tmp_path / "cache").rglob("*.u16"))
    pixels.write_bytes(pixels.read_bytes()[:-1])
    build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    next((tmp_path / "cache").rglob("*.u16")).write_bytes(b"")
    store = build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "cache")
    assert len(decoded) == 24
    expected = SMALL.apply(read_image(pictures[6]).pixels)
    np.testing.assert_allclose(store.images(np.array([6]))[0, 0], expected, atol=1e-5)


def test_the_repr_shows_no_path(make_cohort, pictures, tmp_path) -> None:
    store = build_image_store(make_cohort(pictures[:1]), SMALL, cache=tmp_path / "cache")
    assert "picture" not in repr(store)
    assert store.digest[:12] in repr(store)


def test_a_16_bit_image_keeps_its_own_maximum(make_cohort, tmp_path) -> None:
    values = np.linspace(0, 4000, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    store = build_image_store(
        make_cohort([str(tmp_path / "deep.png")]), SMALL, cache=tmp_path / "cache"
    )
    np.testing.assert_allclose(store.images(np.array([0]))[0, 0], values / 4000, atol=1e-5)
