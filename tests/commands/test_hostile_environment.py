"""Environments as they are found: leftovers of launchers, users without a home, terminals that know ASCII alone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.core.errors import ForgetMIError, SpecError
from forgetmi.core.files import default_cache
from forgetmi.core.launch import check_launch, forget_leftovers, launched

LAUNCHER = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHER:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("value", ["", " ", "1"])
@pytest.mark.parametrize("rank", ["", "0", "x"])
def test_an_empty_world_is_none(value: str, rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert launched() == 1
    check_launch()
    forget_leftovers()
    assert "LOCAL_RANK" not in os.environ


@pytest.mark.parametrize("value", ["two", "-1", "0", "1e400", "9" * 5000, "2.0"])
def test_a_world_that_is_no_number_is_one_error(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    assert main(["methods"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: WORLD_SIZE: ")
    assert said.count("\n") == 1
    assert len(said) < 400


@pytest.mark.parametrize("rank", ["", "2", "-1", "one"])
def test_a_world_that_was_left_over_is_one_error(
    rank: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(SpecError, match="MASTER_ADDR, MASTER_PORT, RANK there is none"):
        check_launch()
    assert main(["train", "--out", "anywhere"]) == 2
    assert "Unset WORLD_SIZE" in capsys.readouterr().err


def test_without_a_home_the_folders_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    from forgetmi.cohort.identifiers import load_key

    for name in ("FORGETMI_CACHE", "XDG_CACHE_HOME", "FORGETMI_KEY_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ForgetMIError, match="FORGETMI_CACHE"):
        default_cache()
    with pytest.raises(ForgetMIError, match="FORGETMI_KEY_FILE"):
        load_key()
    assert main(["cohort", "show"]) == 2


def run(*words: str, encoding: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forgetmi", *words],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", [["--help"], ["requests", "due", "--today", "é"]])
def test_a_terminal_of_ascii_gets_escapes(words: list[str]) -> None:
    done = run(*words, encoding="ascii:strict")
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2)
    assert (done.stdout + done.stderr).isascii()


def test_a_terminal_of_ascii_gets_the_methods_in_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading every method takes seconds: in this process, with streams as that terminal gives them."""
    said = io.BytesIO()
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(said, "ascii", "strict", write_through=True)
        monkeypatch.setattr(sys, name, stream)
    assert main(["methods"]) == 0
    assert len(said.getvalue().decode("ascii").splitlines()) > 20


WORDS = [
    ["methods\0"],
    ["run", "--out", "a\0b"],
    ["requests", "list", "--ledger", "\udcff.sqlite"],
    ["\x1b[31m"],
    ["x" * 100_000],
    ["requests", "due", "--today", "20240101"],
    ["requests", "due", "--today", "2024-02-30"],
    ["requests", "due", "--today", "9" * 5000],
]


@pytest.mark.parametrize("words", WORDS, ids=range(len(WORDS)))
def test_words_that_are_no_words_are_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert len(said) < 5000
    assert said.strip().isprintable()
