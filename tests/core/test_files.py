"""Files that are whole or unchanged."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from forgetmi.core.errors import ForgetMIError
from forgetmi.core.files import (
    default_cache,
    full_disk_explained,
    private_folder,
    write_bytes,
    write_json,
    write_text,
)


def test_files_are_whole_or_unchanged(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "x.txt", "old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a" / "x.txt", float("nan"))
    assert (tmp_path / "a" / "x.txt").read_text() == "old"
    with pytest.raises(ForgetMIError, match="disk is full"), full_disk_explained("x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.txt"]


def test_private_files_are_for_their_owner_alone_whatever_the_mask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = private_folder(tmp_path / "a" / "b")
        write_bytes(folder / "x", b"secret", private=True)
        write_bytes(folder / "y", b"result")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700, "x": 0o600, "y": 0o666}


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644)])
def test_results_follow_the_users_mask(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "x", "result")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_a_folder_that_is_there_is_closed_and_those_above_are_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        path.chmod(0o755)
    private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FORGETMI_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(ForgetMIError, match="FORGETMI_CACHE"):
        default_cache()
