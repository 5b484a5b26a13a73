"""Only regular files are opened, and only as much of them is read as was allowed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from forgetmi.core.regular_file import open_regular, read_regular


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")

    assert read_regular(tmp_path / "file", limit=10) == b"0123456789"
    with open_regular(tmp_path / "file") as file:
        assert file.read(3) == b"012"


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")

    assert read_regular(tmp_path / "link", limit=1) == b"x"


def test_more_bytes_than_allowed_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")

    with pytest.raises(OSError, match="more than 9 bytes"):
        read_regular(tmp_path / "file", limit=9)


def test_an_endless_device_is_refused() -> None:
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        read_regular("/dev/zero", limit=10)


def test_a_pipe_without_a_writer_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        open_regular(tmp_path / "pipe")


def test_a_socket_and_a_folder_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "s"))
        with pytest.raises(OSError, match=r"such device|a pipe"):
            open_regular(tmp_path / "s")

    with pytest.raises(IsADirectoryError, match="it is a folder"):
        open_regular(tmp_path)


def test_an_absent_file_is_told_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
