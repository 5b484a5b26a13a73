"""Files that are whole or unchanged."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from forgetmi.core.errors import ForgetMIError
from forgetmi.core.files import full_disk_explained, write_json, write_text


def test_files_are_whole_or_unchanged(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "x.txt", "old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a" / "x.txt", float("nan"))
    assert (tmp_path / "a" / "x.txt").read_text() == "old"
    with pytest.raises(ForgetMIError, match="disk is full"), full_disk_explained("x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.txt"]
