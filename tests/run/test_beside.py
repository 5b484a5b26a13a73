"""A second method beside a run's own: made once, judged alike, and without a trace in what the run says by itself."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from forgetmi.audit.front_door import verdict
from forgetmi.commands.demo import _with_second
from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.model_names import UNLEARNED
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.run.audit_stage import read_duplicates, stored_audit
from forgetmi.run.beside import (
    check_second,
    compared,
    judge_second,
    make_second,
    second_cpu_seconds,
    second_folder,
    second_jobs,
)
from forgetmi.run.console import summary
from forgetmi.run.default_method import BESIDE, DEMO, named
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_data import OpenedRun, open_run
from forgetmi.run.spec import RunSpec
from tests.runs import TINY

BOTH = dataclasses.replace(TINY, beside="undo")


@pytest.fixture(scope="module")
def data() -> OpenedRun:
    """The cohort of the shared run."""
    return open_run(TINY)


@pytest.fixture(scope="module")
def both(
    signed_run: Path, data: OpenedRun, tmp_path_factory: pytest.TempPathFactory
) -> RunDirectory:
    """A copy of the shared run with UNDO beside its method."""
    root = tmp_path_factory.mktemp("beside") / "run"
    shutil.copytree(signed_run, root)
    make_second(BOTH, root, lambda done, total: None)
    judge_second(BOTH, RunDirectory(root), data)
    return RunDirectory(root)


def test_the_second_is_another_model_and_the_run_is_as_it_was(
    both: RunDirectory, signed_run: Path
) -> None:
    for path in signed_run.rglob("*"):
        if path.is_file():
            assert (both.root / path.relative_to(signed_run)).read_bytes() == path.read_bytes()

    first = read_facts(both.model(UNLEARNED) / "model.json")
    second = read_facts(second_folder(both, BOTH).model(UNLEARNED) / "model.json")
    assert first["weights"] != second["weights"]
    assert second_jobs(TINY, both) == [] == second_jobs(BOTH, both)


def test_what_was_killed_after_the_checkpoint_is_not_unlearned_again(
    both: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = RunDirectory(tmp_path / "run")
    shutil.copytree(both.root, copy.root)
    folder = second_folder(copy, BOTH)
    folder.signals(UNLEARNED).unlink()
    assert [job.name for job in second_jobs(BOTH, copy)] == ["undo"]

    # Only the signals are missing, and come back as they were
    monkeypatch.setattr("forgetmi.run.beside.unlearn_from", None)
    make_second(BOTH, copy.root, lambda done, total: None)
    again = Signals.load(folder.signals(UNLEARNED))
    before = Signals.load(second_folder(both, BOTH).signals(UNLEARNED))
    assert again.model == before.model
    assert all((again.logits[head] == before.logits[head]).all() for head in before.logits)


def test_the_table_has_both_methods_and_the_runs_own_numbers(both: RunDirectory) -> None:
    table = compared(BOTH, both)
    assert table is not None
    assert table.titles == ("original", "Forget-MI", "UNDO", "retrained")
    rows = dict(table.rows)
    evaluation = Evaluation.read(both.metrics)
    gap = evaluation.get(UNLEARNED, "gap", head=table.head)
    assert rows["gap"][1] == f"{gap.value:.3f}"
    assert rows["verdict"][1] == stored_audit(both.audit).outcome
    assert rows["verdict"][2] != "-"
    assert float(rows["CPU time / one retraining"][2]) > 0

    # The terminal prints this table, and without a second method what it printed before
    printed = summary([evaluation], [3], [], table=table)
    assert "UNDO" in printed.splitlines()[0]
    assert compared(TINY, both) is None
    assert second_cpu_seconds(BOTH, both) > 0 == second_cpu_seconds(TINY, both)


def test_the_second_is_judged_as_the_first(both: RunDirectory, data: OpenedRun) -> None:
    signals = {path.stem: Signals.load(path) for path in both.signals("x").parent.glob("*.npz")}
    found = verdict(
        cohort=data.cohort,
        partition=data.partition,
        original=signals["original"],
        unlearned=signals["unlearned"],
        retrained=[signals["retrain-0"], signals["retrain-1"]],
        rule=TINY.audit.rule,
        duplicates=read_duplicates(both),
        seed=TINY.seed,
    )
    # Field by field: where nothing can be measured both say NaN
    stored = stored_audit(both.audit).verdict
    assert repr(found) == repr(stored)


@pytest.mark.parametrize("name", ["rewind", "amnesiac", "msa"])
def test_a_second_method_that_needs_the_training_log_is_refused(name: str, data: OpenedRun) -> None:
    with pytest.raises(MethodError, match="log of the original's training"):
        check_second(dataclasses.replace(TINY, beside=name), data.cohort)


def test_a_second_method_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"did you mean|undo"):
        RunSpec(beside="undoo")


def test_the_demo_shows_the_package_s_method_and_another() -> None:
    demo = _with_second(RunSpec(method=named(DEMO)))
    assert (demo.beside, demo.method.info.title) == (BESIDE, "Forget-MI")
    assert _with_second(RunSpec(method=named(BESIDE))).beside == ""
    assert _with_second(RunSpec(beside="scrub")).beside == "scrub"
