"""A folder that was made once is used again only as long as it is as it was made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from forgetmi.core.checked_folder import is_sound, made_once


def make(folder: Path) -> None:
    folder.mkdir()
    (folder / "a").write_bytes(bytes(range(200)))
    (folder / "b").write_bytes(b"")


def test_it_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    made: list[Path] = []
    before = os.umask(0)
    try:
        for _ in range(2):
            made_once(tmp_path / "cache" / "x", lambda folder: (made.append(folder), make(folder)))
    finally:
        os.umask(before)
    assert len(made) == 1
    for path in (tmp_path / "cache").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["x"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "a").write_bytes(bytes(200)),
        lambda folder: (folder / "a").write_bytes(bytes([1, *range(1, 200)])),
        lambda folder: (folder / "a").unlink(),
        lambda folder: (folder / "more").write_bytes(b""),
        lambda folder: (folder / "checksums.json").unlink(),
        lambda folder: (folder / "checksums.json").write_bytes(bytes(60)),
        lambda folder: (folder / "checksums.json").write_text("[" * 100_000),
        lambda folder: [path.unlink() for path in folder.iterdir()],
    ],
)
def test_a_damaged_one_is_made_again(tmp_path: Path, damage) -> None:
    folder = tmp_path / "x"
    made_once(folder, make)
    assert is_sound(folder)

    damage(folder)
    assert not is_sound(folder)
    made_once(folder, make)
    assert is_sound(folder)
    assert (folder / "a").read_bytes() == bytes(range(200))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        make(folder)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        made_once(tmp_path / "x", fail)
    assert list(tmp_path.iterdir()) == []


def test_the_faster_of_two_wins(tmp_path: Path) -> None:
    def slow(folder: Path) -> None:
        made_once(tmp_path / "x", make)
        make(folder)
        (folder / "a").write_bytes(b"slower")

    made_once(tmp_path / "x", slow)
    assert (tmp_path / "x" / "a").read_bytes() == bytes(range(200))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
