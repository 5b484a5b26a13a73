"""Outputs: refused before the work where they cannot be written; one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forgetmi.core.errors import SpecError
from forgetmi.core.output import check_output, held, output_lock


def blocked(folder: Path) -> Path:
    (folder / "file").write_text("a stranger's")
    return folder / "file" / "below" / "out"


def dangling(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "absent")
    return folder / "link" / "out"


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("make", [blocked, dangling])
def test_a_path_through_a_file_is_refused(
    make: Callable[[Path], Path], folder: bool, tmp_path: Path
) -> None:
    out = make(tmp_path)
    with pytest.raises(SpecError, match=r"out: the output cannot be written .* is no folder"):
        check_output(out, folder=folder)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="the output is a file"):
        check_output(tmp_path / "file", folder=True)
    with pytest.raises(SpecError, match="the output is a folder"):
        check_output(tmp_path, folder=False)
    with pytest.raises(SpecError, match="name is too long"):
        check_output(tmp_path / ("x" * 230), folder=True)


@pytest.mark.parametrize("folder", [True, False])
def test_a_folder_without_the_right_to_write_is_refused(
    folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(SpecError, match=r"the folder .* cannot be written"):
        check_output(tmp_path / "a" / "b", folder=folder)


def test_what_can_be_written_is_taken_and_nothing_is_left(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "model"
    with output_lock(out, folder=True):
        assert [path.name for path in out.parent.iterdir()] == [".model.lock"]
    assert list(tmp_path.iterdir()) == []

    with output_lock(out, folder=True):
        out.mkdir()
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_a_second_process_is_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    out = tmp_path / "model"
    program = (
        "import sys; from pathlib import Path; from forgetmi.core.output import output_lock\n"
        "with output_lock(Path(sys.argv[1]), folder=True): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"held\n"
        with (
            pytest.raises(SpecError, match="model: another process is working in this output"),
            output_lock(out, folder=True),
        ):
            pass
        holding.kill()

    # The lock of a killed process holds nobody up, and goes with the next one
    assert (tmp_path / ".model.lock").exists()
    with output_lock(out, folder=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_name_went_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the file and locking it, the one who held it removed it."""
    lock, opened = tmp_path / "lock", 0

    def open_late(path: Path, flags: int, mode: int = 0o777, make=os.open) -> int:
        nonlocal opened
        handle = make(path, flags, mode)
        opened += 1
        if opened == 1:
            lock.unlink()
        return handle

    monkeypatch.setattr(os, "open", open_late)
    with held(lock, where="x", kept=True):
        assert opened == 2
        assert lock.exists()
