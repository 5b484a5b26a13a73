"""A checksum behind a file tells whether a bit of it was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgetmi.core.file_checksum import add_checksum, is_altered


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 5000])
def test_every_changed_bit_of_the_content_is_seen(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_altered(path)

    add_checksum(path)
    whole = path.read_bytes()
    assert whole.startswith(content)
    assert not is_altered(path)

    for at in {0, len(content) // 2, len(content) - 1} - {-1}:
        if at < len(content):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert is_altered(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert is_altered(path)
    path.write_bytes(b"more" + whole)
    assert is_altered(path)
