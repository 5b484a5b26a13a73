"""Of several processes the first one writes; the others work on a copy and print nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgetmi.core import process_output
from forgetmi.core.process_output import private_output


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Number of the process that a test plays."""
    number = {"rank": 0}
    monkeypatch.setattr(process_output, "rank", lambda: number["rank"])
    monkeypatch.setattr(process_output.dist, "barrier", lambda: None)
    return number


def test_the_first_process_writes_to_the_output(process: dict[str, int], tmp_path: Path) -> None:
    out = tmp_path / "model"
    with private_output(["--seed", "1", "--out", str(out)]) as arguments:
        assert arguments == ["--seed", "1", f"--out={out}"]


def test_the_others_work_on_a_copy(
    process: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "weights").write_text("old")
    (out / ".lock").write_text("")
    (tmp_path / "model.trace.json").write_text("{}")
    (tmp_path / ".model.state.pt").write_text("progress")
    (tmp_path / "model2").write_text("another model")

    process["rank"] = 1
    with private_output([f"--out={out}"]) as arguments:
        copy = Path(arguments[0].removeprefix("--out="))
        names = {path.relative_to(copy.parent).as_posix() for path in copy.parent.rglob("*")}
        print("progress")
        (copy / "weights").write_text("new")

    assert names == {"model", "model/weights", "model.trace.json", ".model.state.pt"}
    assert (out / "weights").read_text() == "old"
    assert not copy.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("arguments", [["--seed", "1"], ["--seed", "1", "--out"]])
def test_a_missing_option_is_left_to_the_command(
    process: dict[str, int], arguments: list[str]
) -> None:
    with private_output(arguments) as given:
        assert given == arguments
