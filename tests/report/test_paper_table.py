"""The paper's table in four forms, from hand-made scores."""

from __future__ import annotations

import csv
import io

import pytest

from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.evaluation.gaps import main_head
from forgetmi.evaluation.suite import evaluate
from forgetmi.report.table import (
    PaperTable,
    paper_table,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
)
from forgetmi.report.table_columns import COLUMNS, columns_of
from tests.made_tasks import Made

Row = tuple[float, float, float, float, float]
ORIGINAL: Row = (0.84, 0.988, 0.905, 0.722, 0.455)
RETRAINS: tuple[Row, Row] = ((0.40, 0.72, 0.42, 0.70, 0.40), (0.30, 0.66, 0.34, 0.71, 0.30))
FORGET_MI: Row = (0.32, 0.75, 0.34, 0.72, 0.36)
NEGGRAD: Row = (0.50, 0.71, 0.30, 0.69, 0.30)


def scores(values: Row) -> tuple[Score, ...]:
    return tuple(
        Score(name, value, (value - 0.05, value + 0.05), 16, 81, "closer", head="image", on=on)
        for value, (_, name, on) in zip(values, COLUMNS, strict=True)
    )


@pytest.fixture
def evaluation() -> Evaluation:
    return Evaluation(
        {
            "original": scores(ORIGINAL),
            "forget_mi": scores(FORGET_MI),
            "neggrad": scores(NEGGRAD),
            "retrain-0": scores(RETRAINS[0]),
            "retrain-1": scores(RETRAINS[1]),
            "retrain": (Score("gap_floor", 0.04, None, 1, 1, "lower", head="image"),),
        }
    )


@pytest.fixture
def table(evaluation: Evaluation) -> PaperTable:
    return paper_table(evaluation, labels={"forget_mi": "Forget-MI", "neggrad": "NegGrad+"})


def test_rows_follow_the_paper_and_retrains_are_merged(table: PaperTable) -> None:
    assert [row.label for row in table.rows] == ["Original", "Retrain (2)", "Forget-MI", "NegGrad+"]
    assert [cell.value for cell in table.rows[1].cells] == pytest.approx(
        [0.35, 0.69, 0.38, 0.705, 0.35]
    )
    assert table.rows[1].cells[0].interval == (0.30, 0.40)
    assert table.rows[0].cells[1].interval == pytest.approx((0.938, 1.038))


def test_the_closest_method_is_marked_in_each_column(table: PaperTable) -> None:
    assert [cell.closest for cell in table.rows[2].cells] == [True, False, True, True, True]

    assert [cell.closest for cell in table.rows[3].cells] == [
        False,
        True,
        False,
        True,
        False,
    ]  # .72 and .69 tie

    assert not any(cell.closest for row in table.rows[:2] for cell in row.cells)


def test_a_single_method_is_not_called_closest(evaluation: Evaluation) -> None:
    kept = {model: found for model, found in evaluation.scores.items() if model != "neggrad"}
    alone = paper_table(Evaluation(kept))
    assert not any(cell.closest for row in alone.rows for cell in row.cells)
    assert "closest" not in alone.note


def test_one_retrain_keeps_its_own_interval(evaluation: Evaluation) -> None:
    kept = {model: found for model, found in evaluation.scores.items() if model != "retrain-1"}
    table = paper_table(Evaluation(kept))
    assert table.rows[1].label == "Retrain"
    assert table.rows[1].cells[0].interval == pytest.approx((0.35, 0.45))


def test_what_failed_is_named_and_never_closest(evaluation: Evaluation) -> None:
    broken = (Failed("sample_mia", "too | few", "image", "forget"), *scores(FORGET_MI)[1:4])
    table = paper_table(Evaluation({**evaluation.scores, "forget_mi": broken}))

    assert table.rows[2].cells[0].reason == "too | few"
    assert table.rows[2].cells[4].reason == "not part of this evaluation"
    assert table.rows[3].cells[0].closest
    assert r"not measured: too \| few" in to_markdown(table)
    assert "not measured: too | few" in to_html(table)
    assert r"\emph{too | few}" in to_latex(table)


def test_markdown_is_a_table(table: PaperTable) -> None:
    lines = to_markdown(table).splitlines()

    assert lines[0] == "| model | MIA | AUC forget | F1 forget | AUC test | F1 test |"
    assert lines[4] == (
        "| Forget-MI | **0.320 [0.270, 0.370]** | 0.750 [0.700, 0.800] | **0.340 [0.290, 0.390]** | "
        "**0.720 [0.670, 0.770]** | **0.360 [0.310, 0.410]** |"
    )
    assert len({line.count("|") for line in lines[:6]}) == 1


def test_csv_keeps_full_precision(table: PaperTable) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))

    assert len(rows) == 4 * len(COLUMNS)

    first = next(row for row in rows if row["model"] == "Forget-MI" and row["column"] == "MIA")

    assert (float(first["value"]), float(first["low"]), float(first["high"])) == (
        0.32,
        0.32 - 0.05,
        0.32 + 0.05,
    )
    assert first["closest"] == "1"


def test_hostile_names_are_escaped(evaluation: Evaluation) -> None:
    table = paper_table(evaluation, labels={"forget_mi": "<b>50 % & $x_1$ | #\n\\end{tabular}"})

    assert "<b>50" not in to_html(table)
    assert "&lt;b&gt;50" in to_html(table)

    line = next(line for line in to_markdown(table).splitlines() if "50 %" in line)

    assert "&lt;b&gt;" in line
    assert r"\| #" in line

    latex = to_latex(table)

    assert r"<b>50 \% \& \$x\_1\$ | \# \textbackslash{}end\{tabular\}" in latex
    assert latex.count(r"\end{tabular}") == 1
    assert r"\textbf{0.320 {\scriptsize [0.270, 0.370]}}" in latex


@pytest.mark.parametrize(
    ("task", "headings"),
    [
        ("findings", ("MIA", "AUC forget", "F1 forget", "AUC test", "F1 test")),
        (
            "value",
            (
                "MIA",
                "R2 forget",
                "rank correlation forget",
                "R2 test",
                "rank correlation test",
                "MAE forget",
                "MAE test",
            ),
        ),
        (
            "pairs",
            (
                "pair AUC",
                "recall@1 forget",
                "recall@5 forget",
                "recall@1 test",
                "recall@5 test",
                "recall@10 forget",
                "recall@10 test",
            ),
        ),
    ],
)
def test_each_task_shows_its_own_measures(task: str, headings: tuple[str, ...]) -> None:
    made = Made(task, heads=() if task == "pairs" else ("image", "text"))
    found = evaluate(made.signals(), made.partition(), task=task, seed=0, resamples=10)
    table = paper_table(found, head=main_head(found))
    assert table.headings == headings == tuple(name for name, _, _ in columns_of(found))
    for row in table.rows:
        assert all(cell.value is not None for cell in row.cells), row
