"""A benchmark whose numbers are planted: what each method costs, and how near it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from forgetmi.benchmark.comparison_page import comparison_values
from forgetmi.benchmark.measured import Measured
from forgetmi.benchmark.page import page_of
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.settings import Setting, read_setting
from forgetmi.benchmark.store import Outcome
from forgetmi.benchmark.tables import FORMATS, all_tables
from forgetmi.core.cost import Cost
from forgetmi.core.scores import Evaluation, Score

HOSTILE = '<script>alert(1)</script>&"\' onclick="x'
PERCENTS = (3.0, 10.0)
RETRAINING = 20.0  # CPU seconds

# Share of a retraining, gap over its floor; in order of the rows
COSTS = {"neg_grad": 0.07, "neg_grad_plus": 1.02, "scrub": 0.4, "cf_k": 0.2, "forget_mi": 0.5}
GAPS = {"neg_grad": 3.6, "neg_grad_plus": 1.5, "scrub": 1.9, "cf_k": 3.0, "forget_mi": 1.25}
FAILS = "cf_k"


def planted(*, floor: float = 0.04, patients: int = 20) -> tuple[Results, list[Setting]]:
    """Results at 3 and 10 percent, and the methods; one of them failed.

    On the front are neg_grad, scrub and forget_mi.
    """
    models = []
    for percent in PERCENTS:
        models.append(_model("original", percent, cost=1.0, gap=6.0 * floor, floor=floor))
        models.append(_model("retrain", percent, cost=1.0, gap=floor, floor=floor))
        for row, cost in COSTS.items():
            models.append(_model(row, percent, cost=cost, gap=GAPS[row] * floor, floor=floor))
    forgotten = dict.fromkeys(PERCENTS, ((patients, 4 * patients),))
    return Results(tuple(models), forgotten), [read_setting(row) for row in COSTS]


def planted_page(*, patients: int = 20, label: str = "") -> str:
    """The benchmark's page of them, without figures of Matplotlib.

    Args:
        patients: Who are forgotten.
        label: In place of the name of the first method.
    """
    results, settings = planted(patients=patients)
    if label:
        settings[0] = _Named(settings[0].name, settings[0].method, label)
    return page_of(
        cohort="planted",
        lead="Numbers that were planted.",
        foot="Nothing was trained.",
        tables=all_tables(results, settings, seeds=1, published=False),
        to_html=FORMATS["html"],
        trade_offs=[],
        losses=[],
        **comparison_values(results, settings),
    )


@dataclass(frozen=True)
class _Named(Setting):
    """A row with a name of its own."""

    given: str = ""

    @property
    def label(self) -> str:
        return self.given


def _model(row: str, percent: float, *, cost: float, gap: float, floor: float) -> Measured:
    """One model with the scores that the comparison reads."""
    model = {"original": "original", "retrain": "retrain"}.get(row, f"{row}#0")
    names = ["retrain-0", "retrain-1"] if row == "retrain" else [model]

    scores: dict[str, tuple[Any, ...]] = {}
    for name in names:
        heads = [_score("jsf", value, head, "forget") for head, value in _JSF]
        scores[name] = (_score("gap_joint", gap, "both", ""), *heads)
    scores["retrain"] = (_score("gap_joint_floor", floor, "both", ""),)

    outcome = Outcome("", Cost(cost * RETRAINING, cost * RETRAINING, 1))
    if row == FAILS:
        outcome = replace(outcome, reason="it diverged")
    return Measured(row, percent, 0, 0, 0, model, outcome, Evaluation(scores), RETRAINING)


_JSF = (("image", 0.01), ("text", 0.03))


def _score(name: str, value: float, head: str, on: str) -> Score:
    return Score(name, value, None, 20, 80, "closer", None, head, on)
