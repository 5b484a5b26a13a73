"""The manifest: stable, readable back, and free of folders, users and hosts."""

from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.cost import Cost
from forgetmi.core.files import write_text
from forgetmi.report.manifest import Manifest, collect, without_folders, write_manifest


def make(**changes: object) -> Manifest:
    given = {
        "seeds": {"run": 3, "retrain-0": 4},
        "cohort": "c0" * 32,
        "models": {"original": "0a" * 32},
        "spec": "5e" * 32,
        "stages": {"train": Cost(2.0, 1.5, 10), "evaluate": Cost(0.5, 0.5, 5)},
        "command": [
            "/home/someone/.venv/bin/forgetmi",
            "unlearn",
            "--out=/data/someone/runs/7",
            "lists/withdrawn.csv",
        ],
        "warnings": ["/home/someone/site-packages/torch/x.py:3: slow"],
        **changes,
    }

    return collect(**given)  # type: ignore[arg-type]


def test_manifest_survives_its_json(tmp_path: Path) -> None:
    manifest = make()
    write_manifest(tmp_path / "manifest.json", manifest)
    text = (tmp_path / "manifest.json").read_text()

    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text).to_json() == text
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert [stage["stage"] for stage in json.loads(text)["stages"]] == ["train", "evaluate"]
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]


def test_manifest_names_what_it_ran_on() -> None:
    manifest = make()

    assert manifest.python == platform.python_version()
    assert {"torch", "numpy"} <= set(manifest.libraries)
    assert manifest.cores >= 1
    assert manifest.threads >= 1
    assert manifest.processor


def test_manifest_holds_no_folder_user_or_host() -> None:
    manifest = make()

    assert manifest.command == "forgetmi unlearn --out=7 withdrawn.csv"
    assert manifest.warnings == ("x.py:3: slow",)

    text = manifest.to_json()

    assert "someone" not in text
    assert str(Path.home()) not in text
    assert len(platform.node()) < 3 or platform.node() not in text
    assert f'"{getpass.getuser()}"' not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("../a/b.csv and ./c/d and ~/e/f", "b.csv and d and f"),
        ("'/data/my films/x.csv' is missing", "'x.csv' is missing"),
        (r"C:\Users\me\f.csv", "f.csv"),
        ("2/3 of the rows, and/or 0.5", "2/3 of the rows, and/or 0.5"),
        ("/work/", "work"),
    ],
)
def test_folders_are_taken_out(text: str, expected: str) -> None:
    assert without_folders(text) == expected


@given(st.lists(st.from_regex(r"[a-z]{4,8}", fullmatch=True), min_size=2, max_size=5))
def test_no_folder_of_an_absolute_path_is_left(parts: list[str]) -> None:
    assert without_folders(f"at /{'/'.join(parts)}: gone") == f"at {parts[-1]}: gone"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")

    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        make(stages={"train": Cost(float("nan"), 1.0, 1)}).to_json()
