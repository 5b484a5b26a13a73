"""The benchmark as a whole, small: each model once, failures stated, interruptions without a trace."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from forgetmi.benchmark import work
from forgetmi.benchmark.grid import cells, points
from forgetmi.benchmark.results import collect
from forgetmi.benchmark.settings import read_setting
from forgetmi.benchmark.store import Outcome, Store
from forgetmi.cli import main
from forgetmi.commands.benchmark_axes import read_axes
from forgetmi.commands.benchmark_options import BenchmarkOptions
from forgetmi.commands.benchmark_steps import print_plan
from forgetmi.core.cost import Cost
from forgetmi.core.registry import methods
from forgetmi.core.signals import Signals
from forgetmi.methods.cf_k import CFk
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.methods.scrub import Scrub
from forgetmi.run.directory import RunDirectory
from forgetmi.run.run_data import open_run
from forgetmi.run.run_models import model_names
from forgetmi.run.spec import PartitionSpec, write_yaml
from forgetmi.run.stages import make_model
from tests.evidence.copied_runs import states
from tests.runs import SMALL

SPEC = replace(SMALL, partition=PartitionSpec(), method=ForgetMI(), resamples=20)
GRID = ("--percents", "12", "--training-seeds", "3", "--no-presets")


@dataclass(frozen=True)
class Broken:
    """A method that always fails.

    Args:
        epochs: Not used.
    """

    info: ClassVar[Any] = replace(CFk.info, title="Broken")

    epochs: int = 1

    def apply(self, model: Any, loaders: Any, context: Any) -> Any:
        """Fail."""
        raise ZeroDivisionError("patient 12345678")


@pytest.fixture
def broken() -> Any:
    methods.add("broken", Broken)
    yield "broken"
    methods.remove("broken")


def bench(folder: Path, *extra: str) -> int:
    spec = folder.parent / "spec.yaml"
    spec.write_text(write_yaml(SPEC))
    return main(["benchmark", "--spec", str(spec), "--out", str(folder), *GRID, *extra])


def signals(store: Store) -> dict[str, Signals]:
    return {path.parent.name: Signals.load(path) for path in store.root.glob("cells/*/signals.npz")}


def same(a: Signals, b: Signals) -> bool:
    return (
        a.model == b.model
        and np.array_equal(a.image_logits, b.image_logits)
        and np.array_equal(a.text_logits, b.text_logits)
    )


def test_from_nothing_to_tables(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench"
    short = ("--training.epochs", "1")
    options = ("--methods", "retrain", "cf_k:epochs=1", "sisa:shards=2,slices=1", broken, *short)
    assert bench(out, *options, "--dry-run") == 0
    planned = capsys.readouterr().out
    assert "7 models, 7 to make" in planned
    assert "defaults for the compact model" in planned
    assert not out.exists()

    assert bench(out, *options) == 0
    said = capsys.readouterr()
    assert "7 of 7 models made, 1 failed" in said.out
    assert "0 s left" in said.err
    assert "7/7 models" in said.err
    table = (out / "tables" / "table1.md").read_text()
    assert "| CF-k (epochs 1) |" in table
    assert "| Original for SISA (shards 2, slices 1) |" in table
    assert "not measured: failed" in table
    assert "ZeroDivisionError" in table
    assert "not resolvable" in table
    assert "**" not in table
    assert (out / "tables" / "details-12.tex").exists()
    assert "<svg" in (out / "benchmark.html").read_text()
    for path in out.rglob("*"):
        if path.suffix in {".json", ".csv", ".md", ".html", ".tex"}:
            assert "12345678" not in path.read_text()
    rows = (out / "results.csv").read_text().splitlines()
    assert len([row for row in rows if row.startswith("broken") and row.endswith("failed")]) == 27

    before = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/cell.json")}
    tables = {path: path.read_bytes() for path in (out / "tables").iterdir()}
    made = {path for path in before if not json.loads(path.read_text())["reason"]}
    assert bench(out, *options) == 0
    assert {path: path.stat().st_mtime_ns for path in made} == {path: before[path] for path in made}
    assert {
        path: path.read_bytes() for path in (out / "tables").iterdir() if "details" not in path.name
    } == {path: content for path, content in tables.items() if "details" not in path.name}

    # Without the one that fails it is finished, and given again left as it is
    options = ("--methods", "retrain", "cf_k:epochs=1", *short)
    assert bench(out, *options) == 0
    assert "Nothing was done" not in capsys.readouterr().out
    files = states(out)
    assert bench(out, *options) == 0
    assert "The benchmark is finished already. Nothing was done" in capsys.readouterr().out
    assert states(out) == files


@pytest.mark.slow
def test_interrupted_and_gone_on_with_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--methods", "cf_k:epochs=2")
    assert bench(tmp_path / "whole", *options) == 0
    steps = 0
    keep = work.make

    def interrupted(store: Store, cell: Any, progress: Any) -> None:
        def stop(done: int, total: int) -> None:
            nonlocal steps
            steps += 1
            if steps in (2, 6, 11):  # while the original is trained, a retrained one, and CF-k runs
                raise KeyboardInterrupt
            progress(done, total)

        keep(store, cell, stop)

    monkeypatch.setattr(work, "make", interrupted)
    assert [bench(tmp_path / "parts", *options) for _ in range(4)] == [130, 130, 130, 0]
    whole, parts = signals(Store(tmp_path / "whole")), signals(Store(tmp_path / "parts"))
    assert set(whole) == set(parts)
    assert len(whole) == 4
    assert all(same(whole[name], parts[name]) for name in whole)
    assert (tmp_path / "whole" / "tables" / "table1.csv").read_bytes() == (
        tmp_path / "parts" / "tables" / "table1.csv"
    ).read_bytes()


def test_models_are_those_of_a_run(tmp_path: Path) -> None:
    run = replace(
        SPEC,
        partition=PartitionSpec(percent=12.0),
        training=replace(SPEC.training, epochs=1),
        method=CFk(epochs=1),
        retrains=1,
    )
    directory = RunDirectory(tmp_path / "run")
    names = model_names(run)
    for name in names:
        make_model(run, directory.root, name, lambda done, total: None)
    store = Store(tmp_path / "bench")
    short = ("--methods", "cf_k:epochs=1", "--retrains", "1", "--training.epochs", "1")
    assert bench(store.root, *short) == 0
    found = {one.model for one in signals(store).values()}
    assert found == {Signals.load(directory.signals(name)).model for name in names}


def test_wrong_axes_are_all_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        bench(
            tmp_path / "bench",
            "--draws",
            "1",
            "2",
            "3",
            "--retrains",
            "0",
            "--partition.percent",
            "5",
        )
        == 2
    )
    said = capsys.readouterr().err
    assert said.count("error:") == 3
    assert "--percents" in said
    assert not (tmp_path / "bench").exists()
    assert bench(tmp_path / "bench", "--methods", "cf_k:epoch=1") == 2
    assert "Did you mean 'epochs'" in capsys.readouterr().err


def test_canaries_would_make_every_percentage_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tmp_path / "bench", "--partition.canaries", str(tmp_path / "canaries.json")) == 2
    assert "list of canaries is given" in capsys.readouterr().err


def test_a_retrained_model_that_failed_is_stated(tmp_path: Path) -> None:
    store = Store(tmp_path / "bench")
    options = BenchmarkOptions(
        out=store.root, methods=("cf_k",), percents=(12.0,), training_seeds=(3,), presets=False
    )
    grid = points(SPEC, read_axes(SPEC, options))
    first, second = grid[0].retrains
    reasons = []
    for reason in ("", "it diverged"):
        for cell, why in ((first, ""), (second, reason)):
            store.folder(cell.digest).mkdir(parents=True, exist_ok=True)
            store.finish(cell.digest, Outcome(why, Cost(1.0, 1.0, 1)), identity={})
        reasons.append(collect(store, grid).failures(12.0))
    assert reasons == [[], ["12 %, retrain failed (1 run): it diverged"]]


def test_an_axis_without_values_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(write_yaml(SPEC))
    words = ["benchmark", "--spec", str(spec), "--out", str(tmp_path / "bench"), "--dry-run"]
    for axis in ("--training-seeds", "--unlearning-seeds", "--percents"):
        assert main([*words, axis]) == 2
        assert "Give at least one percentage and one seed." in capsys.readouterr().err
    assert read_axes(SPEC, BenchmarkOptions(Path(), quick=True)).training_seeds == (0,)
    assert read_axes(SPEC, BenchmarkOptions(Path())).training_seeds == (0, 1, 2)


def test_an_estimate_is_never_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = replace(SPEC, training=replace(SPEC.training, epochs=1))
    grid = points(
        spec,
        read_axes(
            spec, BenchmarkOptions(tmp_path, ("cf_k",), (12.0,), training_seeds=(3,), presets=False)
        ),
    )
    print_plan(Store(tmp_path), grid, workers=1)
    said = capsys.readouterr().out
    assert said.count(": < 1 CPU s\n") == 4
    assert "about 0 " not in said
    assert " 0 s" not in said


def test_one_process_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunDirectory(tmp_path / "bench").lock():
        assert bench(tmp_path / "bench", "--quick") == 2
    assert "another process" in capsys.readouterr().err


def test_what_determines_a_model() -> None:
    spec = replace(SPEC, seed=3)
    options = BenchmarkOptions(
        Path(),
        methods=("cf_k", "sisa"),
        percents=(6.0, 12.0),
        draws=(2, 1),
        training_seeds=(3, 4),
        unlearning_seeds=(0, 1),
        presets=False,
    )
    grid = points(spec, read_axes(spec, options))
    found = cells(grid)
    roles = [cell.role for cell in found]
    assert len(grid) == 6
    assert roles == sorted(roles, key=("original", "retrain", "unlearn").index)
    # One usual original a training seed, shared by all forget sets; SISA's own for each, because it may depend on them.
    assert sum(cell.role == "original" and not cell.setting for cell in found) == 2
    assert sum(cell.role == "retrain" for cell in found) == 6 * SPEC.retrains
    assert sum(cell.role == "unlearn" for cell in found) == 6 * 2 * 2
    assert len({cell.digest for cell in found}) == len(found)
    validation = {open_run(point.spec).partition.validation.tobytes() for point in grid}
    assert len(validation) == 1  # the same patients at every percentage and draw
    again = cells(
        points(replace(spec, training=replace(spec.training, lr=2e-3)), read_axes(spec, options))
    )
    assert not {cell.digest for cell in again} & {cell.digest for cell in found}
    slower = replace(options, methods=("cf_k:lr=1e-5", "sisa"))
    changed = {cell.digest for cell in cells(points(spec, read_axes(spec, slower)))} ^ {
        cell.digest for cell in found
    }
    assert len(changed) == 2 * 6 * 2  # CF-k's models alone


def test_quick_holds_every_required_method() -> None:
    axes = read_axes(SPEC, BenchmarkOptions(Path(), quick=True, percents=(8.0, 12.0, 20.0)))
    names = [one.name for one in axes.settings]
    assert names[:7] == [
        "neg_grad_plus",
        "scrub",
        "cf_k",
        "eu_k",
        "multi_delete",
        "forget_mi",
        "scrub:rewind=error",
    ]
    assert axes.settings[6].method == Scrub(rewind="error")
    everything = [one.name for one in read_axes(SPEC, BenchmarkOptions(Path())).settings]
    assert everything[:7] == names[:7]
    assert set(names) <= set(everything)
    assert (
        len(cells(points(replace(SPEC, retrains=3), axes))) == 43
    )  # 1 + 3 x (3 + 7 methods + 4 more settings)


def test_settings_by_name() -> None:
    setting = read_setting("forget_mi:setting=unimodal,lr=1e-4")
    assert setting.method == ForgetMI(setting="unimodal", lr=1e-4)
    assert setting.label == "Forget-MI (setting unimodal, lr 1e-4)"
