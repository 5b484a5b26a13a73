"""What the cache holds of films: damage is never served, nothing of it can be tested by others, and films can go."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forgetmi.core.files as files_module
import forgetmi.data.image_file as image_file_module
import forgetmi.data.shards as shards_module
from forgetmi.core.errors import CohortError
from forgetmi.data.cache_forgetting import forget_films
from forgetmi.data.decode import Decoded, read_image
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing

SMALL = ImagePreprocessing(size=16)
ROWS = np.arange(8)

LAST_BIT = 0x80


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The locators that were decoded, in order."""
    calls: list[str] = []

    def counting(locator: str) -> Decoded:
        calls.append(locator)
        return read_image(locator)

    monkeypatch.setattr(image_file_module, "read_image", counting)
    return calls


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def files_of(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def shards_of(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.u16"))


def rot(path: Path, change: Callable[[bytearray], None]) -> None:
    """Change bytes of a file as a failing disk does: size and times stay."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip(at: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[at % len(content)] ^= LAST_BIT

    return change


def zeros(content: bytearray) -> None:
    content[:] = bytes(len(content))


def cut(content: bytearray) -> None:
    del content[len(content) // 2 :]


def nothing(content: bytearray) -> None:
    content.clear()


# The first image, the last one's end, and the index from its beginning to the last byte of the file.
SHARD_DAMAGE = {
    "first pixel": flip(0),
    "last pixel": flip(8 * 512 - 1),
    "beginning of the index": flip(8 * 512),
    "a tag": flip(8 * 512 + 100),
    "the index's tag": flip(-20),
    "its length": flip(-8),
    "end": flip(-1),
    "zeros": zeros,
    "cut": cut,
    "empty": nothing,
}


@pytest.mark.parametrize("damage", SHARD_DAMAGE.values(), ids=SHARD_DAMAGE)
def test_a_damaged_shard_is_never_served(make_cohort, pictures, cache, decoded, damage) -> None:
    clean = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    expected = clean.images(ROWS)
    decoded.clear()

    rot(shards_of(cache)[0], damage)
    store = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    np.testing.assert_array_equal(store.images(ROWS), expected)
    assert store.digest == clean.digest
    assert 1 <= len(decoded) <= 8
    assert store.damaged == 1  # an image, or a whole file

    # What was made again is sound, and the damaged image is nowhere any more.
    decoded.clear()
    again = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    assert (decoded, again.damaged) == ([], 0)
    np.testing.assert_array_equal(again.images(ROWS), expected)


def test_a_shard_of_another_format_is_made_again(
    make_cohort, pictures, cache, decoded, monkeypatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(shards_module, "_FORMAT", "forgetmi shard 1")
        expected = build_image_store(make_cohort(pictures), SMALL, cache=cache).images(ROWS)
    decoded.clear()

    store = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    np.testing.assert_array_equal(store.images(ROWS), expected)
    assert len(decoded) == 8
    assert len(shards_of(cache)) == 1


def test_one_damaged_image_costs_one_decoding(make_cohort, pictures, cache, decoded) -> None:
    build_image_store(make_cohort(pictures), SMALL, cache=cache)
    decoded.clear()
    rot(shards_of(cache)[0], flip(3 * 512 + 7))
    store = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    assert (len(decoded), store.damaged) == (1, 1)
    assert sum(len(shard) for shard in store.shards) == 9  # one of them is not used
    fresh = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    assert sum(len(shard) for shard in fresh.shards) == 8


def test_damage_outside_a_cohort_costs_it_nothing(make_cohort, pictures, cache, decoded) -> None:
    build_image_store(make_cohort(pictures), SMALL, cache=cache)
    decoded.clear()
    rot(shards_of(cache)[0], flip(7 * 512))
    store = build_image_store(make_cohort(pictures[:3]), SMALL, cache=cache)
    assert (decoded, store.damaged) == ([], 0)


def test_a_shard_of_another_film_is_not_taken(make_cohort, pictures, cache) -> None:
    build_image_store(make_cohort(pictures[:1]), SMALL, cache=cache)
    (first,) = shards_of(cache)
    build_image_store(make_cohort(pictures[1:2]), SMALL, cache=cache)
    (second,) = set(shards_of(cache)) - {first}

    # Pixels of the one before the index of the other: same size, sound parts.
    content = first.read_bytes()[:512] + second.read_bytes()[512:]
    second.write_bytes(content)
    store = build_image_store(make_cohort(pictures[1:2]), SMALL, cache=cache)
    expected = SMALL.apply(read_image(pictures[1]).pixels)
    np.testing.assert_allclose(store.images(np.array([0]))[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["seen.bin", "key"])
@pytest.mark.parametrize("damage", [flip(5), flip(30), flip(-1), zeros, cut, nothing])
def test_a_damaged_index_or_key_costs_a_second_reading(
    make_cohort, pictures, cache, name, damage
) -> None:
    clean = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    rot(next(cache.rglob(name)), damage)
    for _ in range(2):
        store = build_image_store(make_cohort(pictures), SMALL, cache=cache)
        assert store.digest == clean.digest
        np.testing.assert_array_equal(store.images(ROWS), clean.images(ROWS))


def test_zeros_in_every_file_of_a_cache_change_nothing(make_cohort, pictures, cache) -> None:
    clean = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    expected = clean.images(ROWS)
    for path in files_of(cache):
        rot(path, zeros)
    store = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    assert store.digest == clean.digest
    np.testing.assert_array_equal(store.images(ROWS), expected)


@pytest.mark.parametrize("in_place", [True, False], ids=["written over", "renamed"])
def test_a_film_masked_again_is_read_again(make_cohort, tmp_path, cache, in_place) -> None:
    film, masked = tmp_path / "film.npy", tmp_path / "masked.npy"
    values = np.full((16, 16), 200, np.uint8)
    np.save(film, values)
    values[:4] = 0
    np.save(masked, values)
    for path in (film, masked):
        os.utime(path, (1e9, 1e9))
    build_image_store(make_cohort([str(film)]), SMALL, cache=cache)

    # Of the same size and time of change.
    if in_place:
        film.write_bytes(masked.read_bytes())
    else:
        os.replace(masked, film)
    os.utime(film, (1e9, 1e9))
    store = build_image_store(make_cohort([str(film)]), SMALL, cache=cache)
    assert store.images(np.array([0]))[0, 0, 0, 0] == 0


def test_a_file_that_changes_while_it_is_read_is_refused(
    make_cohort, pictures, cache, monkeypatch
) -> None:
    def changing(locator: str) -> Decoded:
        shutil.copy(pictures[1], pictures[0])
        return read_image(locator)

    monkeypatch.setattr(image_file_module, "read_image", changing)
    with pytest.raises(CohortError, match="changed while it was read"):
        build_image_store(make_cohort(pictures[:1]), SMALL, cache=cache)


@pytest.mark.parametrize("locator", ["pipe.png", "pipe.npy#0", "pipe.dcm"])
def test_a_pipe_is_not_waited_for(make_cohort, tmp_path, cache, locator) -> None:
    os.mkfifo(tmp_path / locator.partition("#")[0])
    with pytest.raises(CohortError, match="a pipe"):
        build_image_store(make_cohort([str(tmp_path / locator)]), SMALL, cache=cache)


@pytest.mark.parametrize("shape", [(1, 10**5, 10**5), (10**5, 10**5), (3, 30_000, 30_000)])
def test_what_is_far_too_large_is_not_even_read_for_its_digest(
    make_cohort, tmp_path, cache, monkeypatch, shape
) -> None:
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)))

    monkeypatch.setattr(image_file_module.ImageFile, "_file_content", property(lambda _: 1 / 0))
    monkeypatch.setattr(image_file_module.np, "ascontiguousarray", lambda _: 1 / 0)
    locator = str(path) + ("#0" if len(shape) == 3 else "")
    with pytest.raises(CohortError, match="far too large"):
        build_image_store(make_cohort([locator]), SMALL, cache=cache)


def test_a_large_file_that_is_no_array_is_not_read_for_its_digest(
    make_cohort, tmp_path, cache, monkeypatch
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    os.truncate(path, 2**30)
    monkeypatch.setattr(image_file_module.ImageFile, "_file_content", property(lambda _: 1 / 0))
    with pytest.raises(CohortError, match="more bytes than a radiograph"):
        build_image_store(make_cohort([str(path)]), SMALL, cache=cache)


def test_a_name_that_no_file_can_have_is_a_fault(make_cohort, pictures, cache) -> None:
    with pytest.raises(CohortError) as caught:
        build_image_store(make_cohort([pictures[0], "a\0b.png", "\ud800.png"]), SMALL, cache=cache)
    assert len(caught.value.faults) == 2


def test_everything_is_on_the_disk_before_it_has_its_name(
    make_cohort, pictures, cache, monkeypatch
) -> None:
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def syncing(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        done.append(("sync", kind))
        fsync(handle)

    def renaming(source, target) -> None:
        done.append(("rename", Path(target).suffix))
        replace(source, target)

    monkeypatch.setattr(files_module.os, "fsync", syncing)
    monkeypatch.setattr(files_module.os, "replace", renaming)
    monkeypatch.setattr(shards_module.os, "replace", renaming)
    build_image_store(make_cohort(pictures), SMALL, cache=cache)

    # The index goes before the films that it leads to.
    names = [target for step, target in done if step == "rename"]
    assert names == [".bin", ".u16"]
    for name in names:
        at = done.index(("rename", name))
        assert done[at - 1] == ("sync", "file")
        assert done[at + 1] == ("sync", "folder")


def test_nobody_else_can_open_the_cache(make_cohort, pictures, tmp_path) -> None:
    before = os.umask(0)
    try:
        build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "new" / "cache")
        forget_films(tmp_path / "new" / "cache", pictures[:3])
    finally:
        os.umask(before)
    for path in (tmp_path / "new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_of_films_that_was_open_is_closed(make_cohort, pictures, cache) -> None:
    (cache / "decoded-films").mkdir(parents=True, mode=0o755)
    cache.chmod(0o755)
    build_image_store(make_cohort(pictures), SMALL, cache=cache)
    assert stat.S_IMODE((cache / "decoded-films").stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.stat().st_mode) == 0o755  # it may hold other things, too


def test_no_digest_in_the_cache_can_be_tested_without_its_key(
    make_cohort, pictures, tmp_path, cache
) -> None:
    np.save(tmp_path / "stack.npy", np.arange(512, dtype=np.uint8).reshape(2, 16, 16))
    store = build_image_store(
        make_cohort([*pictures, f"{tmp_path / 'stack.npy'}#1"]), SMALL, cache=cache
    )

    # What somebody can compute who has a film: of its file, of its prepared pixels, of its path and state.
    guesses: list[bytes] = [bytes.fromhex(content) for content in store.content]
    for picture, image in zip(pictures, store.images(ROWS), strict=True):
        status = os.stat(picture)
        for text in (picture, f"{picture}\0{status.st_size}\0{status.st_mtime_ns}"):
            guesses.append(hashlib.sha256(text.encode()).digest())
        stored = np.rint(image * np.float32(65535)).astype(np.uint16).tobytes()
        guesses.append(hashlib.sha256(stored).digest())

    for path in files_of(cache):
        content = path.read_bytes()
        for guess in guesses:
            for digest in (guess, guess[:16]):
                assert digest not in content
                assert digest.hex().encode() not in content
                assert digest.hex() not in path.name

    # Another cache has other tags for the same films.
    build_image_store(make_cohort(pictures), SMALL, cache=tmp_path / "other")
    assert not {path.name for path in shards_of(cache)} & {
        path.name for path in shards_of(tmp_path / "other")
    }


def pixels_of(locator: str) -> bytes:
    """One film as it is stored."""
    prepared = SMALL.apply(read_image(locator).pixels)
    return np.rint(prepared * np.float32(65535)).astype(np.uint16).tobytes()


def holds(cache: Path, pixels: bytes) -> bool:
    return any(pixels in path.read_bytes() for path in files_of(cache))


def test_forgotten_films_leave_the_cache_and_no_other_does(
    make_cohort, pictures, cache, decoded
) -> None:
    sizes = (SMALL, ImagePreprocessing(size=24, fit="stretch"))
    expected = [build_image_store(make_cohort(pictures), size, cache=cache) for size in sizes]
    removed = forget_films(cache, [pictures[2], pictures[5], pictures[2], ""])
    assert removed.films == (2, 2, 2, 0)
    assert (removed.images, removed.entries) == (4, 2)
    assert (removed.untraced, removed.damaged, removed.leftovers, removed.former) == (0, 0, 0, 0)
    for number, picture in enumerate(pictures):
        assert holds(cache, pixels_of(picture)) is (number not in (2, 5))

    # The others are neither read nor decoded again.
    decoded.clear()
    stay = [number for number in ROWS if number not in (2, 5)]
    for size, before in zip(sizes, expected, strict=True):
        store = build_image_store(make_cohort([pictures[at] for at in stay]), size, cache=cache)
        np.testing.assert_array_equal(store.images(np.arange(6)), before.images(np.array(stay)))
    assert decoded == []
    assert forget_films(cache, [pictures[2], pictures[5]]).images == 0


def test_films_whose_files_are_gone_or_replaced_are_forgotten(make_cohort, pictures, cache) -> None:
    gone, replaced, copied = (pixels_of(pictures[number]) for number in (0, 1, 2))
    build_image_store(make_cohort(pictures[:3]), SMALL, cache=cache)
    copy = shutil.copy(pictures[2], f"{pictures[2]}.copy.png")
    build_image_store(make_cohort([str(copy)]), SMALL, cache=cache)
    os.unlink(pictures[0])
    shutil.copy(pictures[6], pictures[1])
    build_image_store(make_cohort([pictures[1]]), SMALL, cache=cache)
    now = pixels_of(pictures[1])
    assert all(holds(cache, pixels) for pixels in (gone, replaced, copied, now))

    # The film read under another path is known by its content.
    removed = forget_films(cache, [pictures[0], pictures[1], str(copy)])
    assert not any(holds(cache, pixels) for pixels in (gone, replaced, copied, now))
    assert removed.films == (1, 2, 1)
    assert (removed.entries, removed.absent) == (5, 0)
    assert forget_films(cache, [pictures[0]]).absent == 1


def test_a_file_read_just_after_it_was_written_is_forgotten_when_it_is_gone(
    make_cohort, tmp_path, cache
) -> None:
    path = tmp_path / "fresh.png"
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    pixels = pixels_of(str(path))
    build_image_store(make_cohort([str(path)]), SMALL, cache=cache)
    path.unlink()
    assert forget_films(cache, [str(path)]).images == 1
    assert not holds(cache, pixels)


def test_slices_of_a_stack_are_forgotten_one_by_one(make_cohort, tmp_path, cache) -> None:
    stack = np.random.default_rng(0).integers(0, 256, (4, 16, 16), np.uint8)
    np.save(tmp_path / "stack.npy", stack)
    locators = [f"{tmp_path / 'stack.npy'}#{number}" for number in range(4)]
    build_image_store(make_cohort(locators), SMALL, cache=cache)
    (tmp_path / "stack.npy").rename(tmp_path / "moved.npy")
    assert forget_films(cache, locators[1:2]).films == (1,)
    held = [holds(cache, (image.astype(np.uint16) * np.uint16(257)).tobytes()) for image in stack]
    assert held == [True, False, True, True]


def test_images_to_which_nothing_leads_are_forgotten_with_any_list(
    make_cohort, pictures, cache
) -> None:
    build_image_store(make_cohort(pictures[:3]), SMALL, cache=cache)
    next(cache.rglob("seen.bin")).unlink()
    build_image_store(make_cohort(pictures[1:3]), SMALL, cache=cache)
    removed = forget_films(cache, [pictures[2]])
    assert (removed.images, removed.untraced) == (1, 1)
    assert [holds(cache, pixels_of(picture)) for picture in pictures[:3]] == [False, True, False]


@pytest.mark.parametrize("lost", ["key", "seen.bin"])
def test_films_that_nothing_opens_any_more_are_forgotten(
    make_cohort, pictures, cache, lost
) -> None:
    build_image_store(make_cohort(pictures), SMALL, cache=cache)
    next(cache.rglob(lost)).unlink()
    removed = forget_films(cache, [""])
    assert (removed.unreadable, removed.untraced) == ((1, 0) if lost == "key" else (0, 8))
    assert shards_of(cache) == []


def test_what_an_earlier_version_left_is_removed_and_nothing_else(
    make_cohort, pictures, cache
) -> None:
    former = cache / "images" / ("0" * 16)
    former.mkdir(parents=True)
    (cache / "images" / "seen.bin").write_bytes(bytes(64))
    (former / "a.u16").write_bytes(bytes(512))
    (former / "a.json").write_text('{"contents": []}')
    mine = cache / "images" / "holiday.png"
    mine.write_bytes(b"mine")
    (cache / "decoded-films").mkdir()
    (cache / "decoded-films" / "note").write_text("mine")

    # It is not in the way of anything.
    store = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    assert len(store) == 8
    assert forget_films(cache, [""]).former == 3
    assert sorted(path.name for path in files_of(cache / "images")) == ["holiday.png"]
    assert (cache / "decoded-films" / "note").exists()


def test_a_cache_that_is_not_there_remembers_nothing(cache) -> None:
    removed = forget_films(cache, ["/nowhere/film.png"])
    assert removed.films == (0,)
    assert not cache.exists()


def test_who_reads_meanwhile_goes_on(make_cohort, pictures, cache) -> None:
    store = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    expected = np.stack([SMALL.apply(read_image(picture).pixels) for picture in pictures])
    forget_films(cache, pictures)
    assert shards_of(cache) == []
    np.testing.assert_allclose(store.images(ROWS)[:, 0], expected, atol=1e-5)


def test_films_can_go_while_a_store_is_built(make_cohort, pictures, cache, monkeypatch) -> None:
    monkeypatch.setattr(shards_module, "_SHARD_IMAGES", 2)
    build_image_store(make_cohort(pictures[:4]), SMALL, cache=cache)

    def forgetting(done: int, total: int) -> None:
        if done in (3, 6):
            forget_films(cache, pictures)

    store = build_image_store(make_cohort(pictures), SMALL, cache=cache, progress=forgetting)
    expected = np.stack([SMALL.apply(read_image(picture).pixels) for picture in pictures])
    np.testing.assert_allclose(store.images(ROWS)[:, 0], expected, atol=1e-5)


_FORGET = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from forgetmi.data.cache_forgetting import forget_films
    cache, moment, *films = sys.argv[1:]
    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)
    if moment == "writing":
        os.fsync = die
    elif moment == "naming":
        os.replace = die
    elif moment == "removing":
        Path.unlink = die
    elif moment == "index":
        import forgetmi.data.seen_files
        forgetmi.data.seen_files.write_bytes = die
    forget_films(Path(cache), films)
""")


@pytest.mark.parametrize("moment", ["writing", "naming", "removing", "index"])
def test_a_killed_forgetting_is_finished_by_the_same_call(
    make_cohort, pictures, cache, decoded, moment
) -> None:
    clean = build_image_store(make_cohort(pictures), SMALL, cache=cache)
    command = [sys.executable, "-c", _FORGET, str(cache), moment, *pictures[:2]]
    assert subprocess.run(command).returncode == -signal.SIGKILL

    # Whatever moment it was: every film is right.
    decoded.clear()
    store = build_image_store(make_cohort(pictures[2:]), SMALL, cache=cache)
    np.testing.assert_array_equal(store.images(np.arange(6)), clean.images(ROWS[2:]))
    assert decoded == []

    # Gone, also from what the killed process had begun to write.
    gone = [pixels_of(picture) for picture in pictures[:2]]
    for picture in pictures[:2]:
        os.unlink(picture)
    for left in cache.rglob("*.partial"):
        os.utime(left, (1e9, 1e9))
    forget_films(cache, pictures[:2])
    assert not any(holds(cache, pixels) for pixels in gone)
    assert list(cache.rglob("*.partial")) == []


def test_what_a_killed_build_had_begun_is_forgotten(make_cohort, pictures, cache) -> None:
    build_image_store(make_cohort(pictures[:1]), SMALL, cache=cache)
    (folder,) = (path for path in (cache / "decoded-films").iterdir() if path.is_dir())
    begun = folder / "begun.partial"
    begun.write_bytes(pixels_of(pictures[3]))
    os.utime(begun, (1e9, 1e9))
    assert forget_films(cache, [pictures[3]]).leftovers == 1
    assert not begun.exists()


def test_the_file_a_living_process_writes_is_left_alone(
    make_cohort, pictures, cache, monkeypatch
) -> None:
    def forgetting(done: int, total: int) -> None:
        for begun in cache.rglob("*.partial"):
            os.utime(begun, (1e9, 1e9))
        forget_films(cache, pictures[7:])

    store = build_image_store(make_cohort(pictures), SMALL, cache=cache, progress=forgetting)
    assert len(shards_of(cache)) == 1
    assert len(store) == 8
