"""Tables of values and pairs show the measures that these tasks have."""

from __future__ import annotations

import pytest

from forgetmi.benchmark.figures import trade_off
from forgetmi.benchmark.measured import POSITIVE, SHARE, WITHIN, Measured
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.results_csv import long_csv
from forgetmi.benchmark.settings import read_setting
from forgetmi.benchmark.store import Outcome
from forgetmi.benchmark.tables import all_tables
from forgetmi.core.cost import Cost
from forgetmi.evaluation.metrics import METRICS
from forgetmi.evaluation.suite import evaluate
from tests.made_tasks import Made


@pytest.mark.parametrize("task", ["value", "pairs"])
def test_a_benchmark_has_no_columns_of_what_a_task_has_not(task: str) -> None:
    made = Made(task, heads=() if task == "pairs" else ("image", "text"))
    found = evaluate(made.signals(), made.partition(), task=task, seed=0, resamples=10)
    done = Outcome("", Cost(1.0, 1.0, 0))
    rows = {"original": "original", "retrain": "retrain", "fine_tune": "unlearned"}
    models = [Measured(row, 10.0, 0, 0, 0, name, done, found, 2.0) for row, name in rows.items()]
    results = Results(tuple(models), {10.0: ((30, 60),)})
    methods = [read_setting("fine_tune")]
    for titled in all_tables(results, methods, seeds=1, published=True):
        empty = [
            (heading, row.label)
            for row in titled.table.rows
            for heading, cell in zip(titled.table.headings, row.cells, strict=True)
            if cell.value is None and cell.reason not in ("does not apply", "no short_retrain")
        ]
        assert not empty
    assert "AUC on never-seen" not in trade_off(results, methods, 10.0)
    lines = long_csv(results).splitlines()[1:]
    assert len(lines) > 10
    assert not [line for line in lines if "not part of this evaluation" in line]


def test_a_gap_of_values_may_be_above_one_in_all_its_parts() -> None:
    gaps = [name for name in METRICS if name.startswith("gap") and "floor" not in name]
    assert len(gaps) == 6
    assert {WITHIN.get(name, SHARE) for name in gaps} == {POSITIVE}
