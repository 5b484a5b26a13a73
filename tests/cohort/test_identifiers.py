"""Keyed digests: stable, separate by kind, and a key that is made once whatever the race."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.cohort.identifiers import KEY_VARIABLE, Pseudonyms, load_key, user_key_file
from forgetmi.core.errors import CohortError

KEY = b"sixteen bytes or more"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def test_digest_is_hmac_sha256() -> None:
    expected = hmac.new(KEY, b"patient\x1fp17", hashlib.sha256).hexdigest()[:16]
    assert Pseudonyms(KEY).digest("patient", "p17") == expected


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), max_size=20))
def test_columns_agree_with_single_digests(raw: list[str]) -> None:
    names = Pseudonyms(KEY)
    assert names.digests("study", raw).tolist() == [names.digest("study", one) for one in raw]


def test_kinds_keys_and_identifiers_are_separate() -> None:
    found = {
        Pseudonyms(key).digest(kind, raw)
        for key in (KEY, KEY[::-1])
        for kind in ("patient", "study", "image", "group")
        for raw in ("1", "2")
    }
    assert len(found) == 16
    assert all(len(one) == 16 and set(one) <= set("0123456789abcdef") for one in found)


def test_key_is_not_shown() -> None:
    names = Pseudonyms(KEY)
    assert names.key_id == Pseudonyms(KEY).key_id != Pseudonyms(KEY + b"x").key_id
    assert KEY.decode() not in repr(names)
    assert names.key_id in repr(names)


def test_no_rows() -> None:
    assert Pseudonyms(KEY).digests("patient", np.array([], dtype=object)).shape == (0,)


def test_user_key_is_made_once_for_the_user_alone(home: Path) -> None:
    key = load_key()
    assert key == load_key()
    assert len(key) == 64
    assert user_key_file().parent.parent == home / "config"
    assert stat.S_IMODE(user_key_file().stat().st_mode) == 0o600
    assert [entry.name for entry in user_key_file().parent.iterdir()] == ["identifiers.key"]


@pytest.mark.usefixtures("home")
def test_processes_that_race_get_one_key() -> None:
    code = "from forgetmi.cohort.identifiers import load_key; print(load_key().hex())"
    racing = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert (
        len({process.communicate(timeout=60)[0] for process in racing} | {load_key().hex() + "\n"})
        == 1
    )


def test_a_faster_process_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(source: str, target: Path) -> None:
        target.write_bytes(KEY)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert load_key() == KEY
    assert [entry.name for entry in user_key_file().parent.iterdir()] == ["identifiers.key"]


def test_named_file_comes_before_the_variable_and_the_user(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "a.key").write_bytes(KEY + b"\r\n")
    (home / "b.key").write_bytes(KEY[::-1])
    monkeypatch.setenv(KEY_VARIABLE, str(home / "b.key"))
    assert load_key(home / "a.key") == KEY
    assert load_key() == KEY[::-1]
    assert not user_key_file().exists()


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), (b"short\n", "5 bytes"), (b"", "0 bytes")]
)
def test_named_file_must_hold_a_key(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
) -> None:
    path = home / "named.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CohortError, match=words):
        load_key(path)
    monkeypatch.setenv(KEY_VARIABLE, str(path))
    with pytest.raises(CohortError, match=words):
        load_key()
    assert not user_key_file().exists()


def test_short_key_is_refused() -> None:
    with pytest.raises(CohortError, match="15 bytes"):
        Pseudonyms(b"x" * 15)


def test_folder_that_cannot_be_made(home: Path) -> None:
    (home / "config").write_text("a file where the folder should be")
    with pytest.raises(CohortError, match="cannot be made") as caught:
        load_key()
    assert KEY_VARIABLE in caught.value.faults[0].do


@pytest.mark.skipif(os.name != "posix", reason="there are no such rights")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602, 0o610])
def test_a_key_that_others_can_open_is_refused(mode: int, tmp_path: Path) -> None:
    key = tmp_path / "some.key"
    key.write_bytes(KEY)
    key.chmod(mode)
    with pytest.raises(CohortError, match=r"some\.key: .*open to others.*mode.*chmod 600"):
        load_key(key)
    key.chmod(0o600)
    assert load_key(key) == KEY
