"""Unfinished files and folders: their names, what goes of them and what never does."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from forgetmi.core import partial_files
from forgetmi.core.partial_files import (
    is_partial,
    recover,
    remove_partials,
    remove_partials_of,
    replace_folder,
    unfinished_folder,
    whole_file,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from forgetmi.core.partial_files import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> Path:
    """What a process leaves that is killed in the middle of a file."""
    before = set(path.parent.iterdir())
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    [left] = set(path.parent.iterdir()) - before
    return left


def test_a_killed_process_leaves_a_file_that_is_known_and_removed(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    left = killed_while_writing(tmp_path / "report.html")
    assert is_partial(left.name)
    assert (tmp_path / "report.html").read_text() == "old"
    assert remove_partials(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    with whole_file(tmp_path / "x") as file:
        file.write(b"new")
        assert remove_partials(tmp_path) == 0
        assert remove_partials_of(tmp_path / "x") == 0
    assert (tmp_path / "x").read_bytes() == b"new"


def test_of_unfinished_folders_only_those_that_nobody_holds_are_removed(tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    (tmp_path / ".cohort.12345678.forgetmi.partial").mkdir()
    (tmp_path / ".other.12345678.forgetmi.partial").mkdir()

    with unfinished_folder(cohort) as first, unfinished_folder(cohort) as second:
        assert first.is_dir()
        assert second.is_dir()
        assert first != second
        assert is_partial(first.name)
        assert not (tmp_path / ".cohort.12345678.forgetmi.partial").exists()
        second.rename(cohort)

    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".other.12345678.forgetmi.partial", "cohort"]


@pytest.mark.parametrize(
    "name",
    [
        "report.html.partial",
        ".report.html.partial",
        "film.forgetmi.partial",
        ".forgetmi.partial",
        ".x.ABCDEFGH.forgetmi.partial",
        ".x.12345678.forgetmi.partial~",
        "x.12345678.forgetmi.partial",
    ],
)
def test_files_of_others_stay(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("a stranger's")
    assert remove_partials(tmp_path) == 0
    assert remove_partials_of(tmp_path / "x") == 0
    assert (tmp_path / name).read_text() == "a stranger's"


def test_links_and_their_targets_stay(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").write_text("a stranger's")
    out = tmp_path / "out"
    out.mkdir()
    (out / ".m.forgetmi.partial").symlink_to(tmp_path / "own")
    (out / ".f.12345678.forgetmi.partial").symlink_to(tmp_path / "own" / "file")
    assert remove_partials(out) == 0
    assert (tmp_path / "own" / "file").exists()
    assert len(list(out.iterdir())) == 2


def test_beside_a_file_only_its_own_go(tmp_path: Path) -> None:
    (tmp_path / ".a.npz.12345678.forgetmi.partial").write_text("half")
    (tmp_path / ".b.npz.12345678.forgetmi.partial").write_text("half")
    (tmp_path / ".a.npz.more.12345678.forgetmi.partial").write_text("half")
    assert remove_partials_of(tmp_path / "a.npz") == 1
    assert remove_partials_of(tmp_path / "absent" / "a.npz") == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    with pytest.raises(OSError, match="No space"), whole_file(tmp_path / "x") as file:  # noqa: PT012
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_rights_follow_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "x"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_a_folder_is_never_lost_between_two_renames(
    at: int, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    replace_folder(model, {"weights": b"old"})
    killed_at(at, after, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(model, {"weights": b"new"})
    monkeypatch.undo()

    # Found again by whoever looks for it, with its content or the new one
    recover(model)
    assert (model / "weights").read_bytes() == (b"new" if (at, after) == (2, True) else b"old")
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    replace_folder(model, {"weights": b"newer"})
    assert (model / "weights").read_bytes() == b"newer"


def killed_at(number: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the given rename on nothing is done any more, as after a kill."""
    renames = 0

    def dies(old: Path, new: Path, rename=os.replace) -> None:
        nonlocal renames
        renames += 1
        if renames < number or (renames == number and after):
            rename(old, new)
        if renames == number:
            monkeypatch.setattr(partial_files.shutil, "rmtree", lambda *_, **__: None)
            monkeypatch.setattr(partial_files, "recover", lambda _: None)
            raise KeyboardInterrupt

    monkeypatch.setattr(partial_files.os, "replace", dies)


def test_an_open_brings_a_folder_back_that_was_moved_away(tmp_path: Path) -> None:
    (tmp_path / ".model.forgetmi.old").mkdir()
    (tmp_path / ".model.forgetmi.old" / "weights").write_text("old")
    assert remove_partials(tmp_path) == 0
    assert (tmp_path / "model" / "weights").read_text() == "old"


def test_a_reader_that_brings_a_folder_back_holds_no_writer_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    replace_folder(model, {"weights": b"old"})
    read = False

    def with_a_reader(old: Path, new: Path, rename=os.replace) -> None:
        nonlocal read
        rename(old, new)
        if not read:
            read = True
            recover(model)

    monkeypatch.setattr(partial_files.os, "replace", with_a_reader)
    replace_folder(model, {"weights": b"new"})
    assert (model / "weights").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
