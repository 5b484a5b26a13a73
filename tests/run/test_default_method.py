"""One place says which method is the default, and every command and page agrees with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from forgetmi.commands.options import parse
from forgetmi.commands.run import RunOptions
from forgetmi.commands.withdraw import USED, WithdrawOptions
from forgetmi.run.default_method import DefaultMethod
from forgetmi.run.spec import RunSpec, kind_of, read_yaml

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("command", ["run", "withdraw"])
def test_commands_that_are_told_no_method_take_the_default(command: str) -> None:
    if command == "run":
        spec, _ = parse(RunOptions, ["--out", "x"], prog="forgetmi run", description="")
    else:
        words = ["--model", "m", "--list", "l.csv", "--out", "x"]
        spec, _ = parse(WithdrawOptions, words, prog="forgetmi withdraw", description="", only=USED)
    assert spec.method == DefaultMethod()


def test_a_specification_that_names_no_method_means_the_default(tmp_path: Path) -> None:
    # What requests process is given, too
    (tmp_path / "spec.yaml").write_text("seed: 1\n")
    assert read_yaml(tmp_path / "spec.yaml").method == DefaultMethod()


@pytest.mark.skipif(not DOCS.exists(), reason="an installed wheel has no docs")
def test_the_page_on_methods_names_the_default() -> None:
    default = kind_of(RunSpec().method)
    sentence = f"take `{default}` where no method is named"
    assert sentence in (DOCS / "which_method.md").read_text(encoding="utf-8")
