"""``--json`` prints one object with stable keys and nothing else on stdout, of errors, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forgetmi.cli import main

KEYS = {
    "add": {
        "request",
        "state",
        "due",
        "received",
        "ground",
        "scope",
        "patients",
        "studies",
        "twins",
    },
    "list": {"requests"},
    "due": {"today", "requests"},
    "close": {"requests", "not_checked"},
}


def told(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    """What a command prints on stdout with ``--json``."""
    capsys.readouterr()
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    who = tmp_path / "who.csv"
    who.write_text("patient_id\nsubject-1964\n")
    ledger = ["--ledger", str(tmp_path / "l.sqlite")]
    add = ["requests", "add", "--who", str(who), "--received", "2026-01-31", *ledger]
    found = {
        "add": told(add, capsys),
        "list": told(["requests", "list", *ledger], capsys),
        "due": told(["requests", "due", "--today", "2026-03-02", *ledger], capsys),
        "close": told(["requests", "close", "R1", "--note", "mistaken", *ledger], capsys),
    }
    for action, keys in KEYS.items():
        assert keys <= set(found[action]), action
    assert (found["add"]["request"], found["add"]["due"]) == ("R0001", "2026-02-28")
    assert found["due"]["requests"][0]["days_left"] == -2
    assert found["list"]["requests"][0]["history"]
    assert found["close"]["requests"][0]["state"] == "closed"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["requests", "list", "--ledger", "nowhere"], "there is no ledger"),
        (["verify", "nowhere"], "the record cannot be read"),
        (["requests", "add", "--received", "soon"], "the options are wrong"),
    ],
)
def test_an_error_is_an_object(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main([*words, "--json"])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    said = capsys.readouterr()
    (error,) = json.loads(said.out)["error"]
    assert set(error) == {"what", "where", "why", "do"}
    assert error["what"] == what
    assert said.err


def test_a_finished_run_and_its_check(
    signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from forgetmi.run.spec import write_yaml
    from tests.runs import TINY

    checked = told(["verify", str(signed_run)], capsys)
    assert {"record", "number", "verdict", "signer", "holds", "not_checked"} == set(checked)

    spec = tmp_path / "spec.yaml"
    spec.write_text(write_yaml(TINY))
    run = told(["run", "--spec", str(spec), "--out", str(signed_run)], capsys)
    assert (run["finished_before"], run["record"]) == (True, checked["record"])
    assert Path(run["report"]).exists()

    audited = told(["audit", str(signed_run), "--out", str(tmp_path / "again")], capsys)
    assert audited["verdict"] == checked["verdict"]
    assert Path(audited["audit"]).exists()
