"""A model whose process dies is a stated failure; the other models are made."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forgetmi.benchmark import work
from forgetmi.benchmark.grid import cells, points
from forgetmi.benchmark.store import Outcome, Store
from forgetmi.benchmark.work import make
from forgetmi.cli import main
from forgetmi.commands.benchmark_axes import read_axes
from forgetmi.commands.benchmark_options import BenchmarkOptions
from forgetmi.core.cost import Cost
from forgetmi.core.errors import Fault
from forgetmi.jobs.pool import warm_up
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.recipe import Recipe
from forgetmi.run.spec import PartitionSpec, write_yaml
from tests.runs import SMALL

SPEC = replace(
    SMALL,
    partition=PartitionSpec(),
    method=ForgetMI(),
    training=Recipe(epochs=1),
    retrains=1,
    resamples=20,
)
METHODS = ("cf_k:epochs=1", "neg_grad_plus:epochs=1")


def deadly(store: Store, cell: Any, progress: Any) -> None:
    if cell.role == "unlearn" and cell.setting == METHODS[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    make(store, cell, progress)


def bench(folder: Path, workers: int) -> int:
    spec = folder.parent / "spec.yaml"
    spec.write_text(write_yaml(SPEC))
    return main(
        [
            "benchmark",
            "--spec",
            str(spec),
            "--out",
            str(folder),
            "--percents",
            "12",
            "--training-seeds",
            "3",
            "--no-presets",
            "--methods",
            *METHODS,
            "--workers",
            str(workers),
        ]
    )


def test_a_model_whose_process_was_killed_is_stated(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = Store(tmp_path / "bench")
    warm_up("forgetmi.run.pipeline")
    monkeypatch.setattr(work, "make", deadly)
    for time in ("among others", "alone"):  # the second time only what failed is left
        assert bench(store.root, workers=2) == 0, time
        assert "4 of 4 models made, 1 failed" in capsys.readouterr().out
        reasons = [store.outcome(path.name).reason for path in (store.root / "cells").iterdir()]  # type: ignore[union-attr]
        assert sorted(map(bool, reasons)) == [False, False, False, True]
        assert max(reasons).startswith("its process was killed (SIGKILL).")
        table = (store.root / "tables" / "table1.md").read_text()
        assert "not measured: failed" in table
        assert f"{METHODS[0]} failed (1 run): its process was killed (SIGKILL)." in table
    monkeypatch.setattr(work, "make", make)
    assert bench(store.root, workers=1) == 0
    assert "4 of 4 models made, 0 failed" in capsys.readouterr().out


def test_a_killed_original_is_the_reason_of_what_unlearns_from_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "bench")
    options = BenchmarkOptions(
        store.root, methods=METHODS[:1], percents=(12.0,), training_seeds=(3,), presets=False
    )
    original, _, unlearned = cells(points(SPEC, read_axes(SPEC, options)))
    work.killed(store, original, Fault("its process was killed", why="SIGKILL"))
    make(store, unlearned, lambda done, total: None)
    outcome = store.outcome(unlearned.digest)
    assert outcome is not None
    assert outcome.reason.startswith(
        "its original could not be made (its process was killed (SIGKILL)"
    )


def test_a_process_killed_after_its_model_was_stored_fails_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "bench")
    options = BenchmarkOptions(
        store.root, methods=METHODS[:1], percents=(12.0,), training_seeds=(3,), presets=False
    )
    cell = cells(points(SPEC, read_axes(SPEC, options)))[0]
    store.finish(cell.digest, Outcome("", Cost(1.0, 1.0, 1)), identity={})
    work.killed(store, cell, Fault("its process was killed"))
    assert store.finished(cell.digest)
