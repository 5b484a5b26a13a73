"""The pages of results: every table of a benchmark, and one attack on batches, images and patients."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import attack_units  # type: ignore[import-not-found]
import paper_table  # type: ignore[import-not-found]
import results_page  # type: ignore[import-not-found]
from forgetmi.benchmark.grid import Axes
from forgetmi.benchmark.measured import Measured, Number
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.settings import read_setting
from forgetmi.benchmark.store import Outcome
from forgetmi.benchmark.tables import all_tables
from forgetmi.core.cost import Cost
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.core.signals import Signals
from pages import hardware  # type: ignore[import-not-found]

SMALL = (
    "--cohort.patients",
    "40",
    "--cohort.size",
    "32",
    "--images.size",
    "32",
    "--no-presets",
    "--percents",
    "10",
    "--training-seeds",
    "0",
    "--methods",
    "cf_k",
)


def measured(
    row: str, seed: int, cpu: float, *, percent: float = 10.0, reason: str = ""
) -> Measured:
    return Measured(
        row, percent, 0, seed, 0, row, Outcome(reason, Cost(cpu, cpu, 1)), Evaluation({}), 20.0
    )


def test_time_is_told_as_a_share_and_in_seconds() -> None:
    settings = [read_setting("cf_k"), read_setting("scrub")]
    results = Results(
        (
            measured("retrain", 0, 7.0),
            measured("retrain", 1, 9.0),
            measured("cf_k", 0, 5.0),
            measured("cf_k", 1, 7.0),
            measured("scrub", 0, 1.0, reason="diverged"),
        ),
        {10.0: ((20, 80),)},
    )
    table = next(
        one.table
        for one in all_tables(results, settings, seeds=2, published=False)
        if one.name == "time"
    )
    found = {row.label: [cell.value for cell in row.cells] for row in table.rows}
    assert found == {
        "Retrain": [1.0, None, 20.0],
        "CF-k": [pytest.approx(0.3), None, 6.0],
        "SCRUB": [None, None, None],
    }
    assert table.headings == (
        "10 %: share of retraining",
        "10 %: share of the cheapest exact retraining",
        "10 %: CPU seconds",
    )


def test_methods_that_did_not_forget_are_named_with_their_best_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stayed = {("cf_k", 0): 1.0, ("cf_k", 1): 0.0, ("scrub", 0): 0.0, ("jit", 0): 1.0}
    monkeypatch.setattr(Measured, "stayed", lambda one: Number(stayed[one.row, one.seed]))
    settings = [read_setting(name) for name in ("cf_k", "scrub", "jit")]
    results = Results(tuple(measured(*key, 1.0) for key in stayed), {10.0: ((20, 80),)})
    best: Any = SimpleNamespace(
        chosen={"score": 0.25}, found={"did_not_forget": False}, options=lambda: "lr 0.01"
    )
    text = results_page.did_not_forget(results, settings, 10.0, {"cf_k": best})
    assert text[-2:] == [
        "| CF-k | 0.50 | lr 0.01 | 0.250 | yes |",
        "| JiT | 1.00 | not tuned | - | - |",
    ]
    none = Results((measured("scrub", 0, 1.0),), {10.0: ((20, 80),)})
    assert len(results_page.did_not_forget(none, settings[1:2], 10.0, {})) == 1


def test_each_percentage_has_its_own_tables_and_time_comes_last() -> None:
    models = tuple(
        measured(row, 0, 5.0, percent=percent)
        for row in ("original", "retrain", "cf_k")
        for percent in (3.0, 10.0)
    )
    axes = Axes((read_setting("cf_k"),), (3.0, 10.0), (1, 1), (0,), (0,))
    text = results_page.page(Results(models, {3.0: ((6, 20),), 10.0: ((20, 80),)}), axes, {})
    assert [line for line in text if line.startswith("#")] == [
        line
        for percent in ("3", "10")
        for line in (
            f"## {percent} % forgotten",
            "### Methods (the paper's Table 1)",
            f"### What the paper's columns do not show, {percent} %",
        )
    ] + ["## Unlearning time"]
    assert "| CF-k | 0.250 | not measured: no short_retrain | 5.000 |" in text[-1]


def said(margins: dict[str, float], partition: Partition) -> Signals:
    """Two classes; logit margins of each set around a mean."""
    rows = np.arange(len(partition.patient))
    margin = np.random.default_rng(0).normal(0.0, 0.3, len(rows))
    for name, mean in margins.items():
        margin[getattr(partition, name)] += mean
    logits = np.stack([margin, np.zeros_like(margin)], axis=1)
    names = np.array([f"{code:016x}" for code in partition.patient])
    return Signals.image_text(
        "m", "c", rows, names, names, np.zeros(len(rows), np.int64), logits, logits
    )


@pytest.fixture
def partition() -> Partition:
    """One image a patient."""
    rows = np.arange(240)
    return Partition(
        forget=rows[:40],
        retain=rows[40:160],
        validation=rows[:0],
        holdout=rows[160:],
        patient=rows,
        group=rows,
        cohort="c",
    )


def test_attacks_tell_a_model_that_remembers_from_one_that_does_not(partition: Partition) -> None:
    remembers, forgot = (
        attack_units.judge(said({"retain": 3.0, "forget": mean}, partition), partition, seed=0)
        for mean in (3.0, 0.0)
    )
    assert remembers["AUC of patients"].value > 0.99
    assert remembers["images flagged"].value > 0.95 > 0.05 > remembers["never seen flagged"].value
    assert remembers["batches flagged"].value == 1.0
    low, high = forgot["AUC of patients"].interval
    assert low < 0.5 < high
    assert abs(forgot["images flagged"].value - forgot["never seen flagged"].value) < 0.1
    assert forgot["batches flagged"].value == 0.0
    both = attack_units.mean([remembers, forgot])
    assert both["images flagged"].value == pytest.approx(
        (remembers["images flagged"].value + forgot["images flagged"].value) / 2
    )
    broken = dict.fromkeys(attack_units.COLUMNS, Failed("attack", "no images"))
    assert attack_units.mean([remembers, broken])["images flagged"] == Failed("attack", "no images")


def test_what_is_not_made_yet_is_stated(tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "page.md"
    marks = "".join(
        f"<!-- {name}: begin -->\n<!-- {name}: end -->\n"
        for name in ("results", "figures", "attacks")
    )
    page.write_text(marks)
    options = ["--out", str(tmp_path / "out"), *SMALL]
    results_page.main([*options, "--into", str(page)])
    paper_table.main([*options, "--into", str(page)])
    text = page.read_text()
    assert str(tmp_path / "out") not in text
    assert "`forgetmi benchmark --out OUT --cohort.patients 40" in text
    made = f"Training seeds 0; 0 of 5 models made, 0 failed; 0 s of processor time in all, on {hardware()}."
    assert text.count(made) == 2  # above the tables, and above the attacks
    assert "### Distance to Retrain" in text
    assert (
        text.count("| CF-k | not measured: not run yet") == 4
    )  # both tables, the time, the attacks
    paper_table.main([])
    assert "attack on" not in capsys.readouterr().out
