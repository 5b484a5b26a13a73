"""Options of every command with hostile values: code 2, or the command's own answer; nothing is computed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi import cli
from forgetmi.commands import command_line, options
from forgetmi.core.errors import Fault, SpecError
from tests.fuzz.hostile import WORDS
from tests.fuzzing import fuzz

pytestmark = pytest.mark.slow

# Commands by what reads their options; all stop there
OF_RUNS = ("run", "train", "unlearn", "predict", "evaluate", "tune", "benchmark", "sweep", "demo")
OF_COHORTS = ("show", "check", "canaries", "make")
OF_REQUESTS = ("add", "list", "due", "process", "close", "advise", "drift")
VERBS = [
    *((verb,) for verb in (*OF_RUNS, "audit", "shadows", "record", "report", "verify", "methods")),
    *(("cohort", action) for action in OF_COHORTS),
    *(("requests", action) for action in OF_REQUESTS),
    *(("cache", action) for action in ("show", "forget")),
    ("nothing",),
]
NAMES = [
    *("out", "seed", "spec", "cohort", "method", "workers", "threads", "split-seed", "retrains"),
    *("partition.percent", "partition.date", "text.vocabulary", "training.lr", "model.widths"),
    *("method.epochs", "method.lr", "audit.rule.level", "images.size", "device", "dry-run", "file"),
    *("seeds", "trials", "percents", "draws", "patients", "who", "received", "days", "within"),
    *(
        "ledger",
        "request",
        "note",
        "record",
        "runs",
        "models",
        "storage",
        "objective",
        "checkpoint",
    ),
]
VALUES = WORDS | st.integers().map(str) | st.floats().map(str) | st.text(max_size=8)


class _Stop(SpecError):
    """The options were read; the command itself is not carried out."""


@pytest.fixture(autouse=True)
def _options_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(read: Callable[..., Any]) -> Callable[..., Any]:
        def stop(*arguments: Any, **named: Any) -> Any:
            read(*arguments, **named)
            raise _Stop(Fault("the options were read"))

        return stop

    # The functions under every name that a command imports them by
    import importlib
    import pkgutil

    import forgetmi.commands as package

    for module in pkgutil.walk_packages(package.__path__, "forgetmi.commands."):
        loaded = importlib.import_module(module.name)
        for name, function in (
            ("parse", options.parse),
            ("command_line", command_line.command_line),
        ):
            if getattr(loaded, name, None) is function and loaded not in (options, command_line):
                monkeypatch.setattr(loaded, name, stopping(function))


@contextlib.contextmanager
def silent() -> Iterator[io.StringIO]:
    """What a command prints as errors."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        yield said


def test_options_of_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    option = st.tuples(st.sampled_from(NAMES), VALUES, st.booleans())
    words = st.tuples(st.sampled_from(VERBS), st.lists(option, max_size=4))

    @given(words)
    def check(drawn: tuple[tuple[str, ...], list[tuple[str, str, bool]]]) -> None:
        verb, given_options = drawn
        line = list(verb)
        for name, value, joined in given_options:
            line += [f"--{name}={value}"] if joined else [f"--{name}", value]

        with silent() as said:
            try:
                code = cli.main(line)
            except SystemExit as stopped:
                code = stopped.code
        assert code in (0, 2)
        assert "Traceback" not in said.getvalue()

    fuzz(check)
    assert not list(tmp_path.iterdir())
