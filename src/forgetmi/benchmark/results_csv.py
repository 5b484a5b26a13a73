"""Every model and score of a benchmark's tables as lines of a CSV file, before any mean."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from forgetmi.benchmark.measured import Number
from forgetmi.benchmark.measured_heads import columns_of_results, heads_of_results, scored
from forgetmi.benchmark.results import Results
from forgetmi.evaluation.gaps import FLOOR, GAP, GAP_JOINT, PARTS
from forgetmi.report.table_columns import Column

HEADINGS = (
    "row",
    "percent",
    "draw",
    "training_seed",
    "unlearning_seed",
    "score",
    "head",
    "on",
    "value",
    "low",
    "high",
    "cpu_seconds",
    "device_seconds",
    "not_measured",
)


def long_csv(results: Results) -> str:
    """One line per model and score of the tables, before any mean."""
    # The heading, then every model
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADINGS)

    heads, joint = heads_of_results(results)
    columns = columns_of_results(results)
    there = scored(results)
    for model in results.models:
        point = [model.row, model.percent, model.draw, model.seed, model.number]

        # A retrained row is of several models; each has a cost of its own.
        cost: tuple[float | None, float | None] = (None, None)
        if model.outcome is not None and model.row != FLOOR:
            spent = model.outcome.cost
            cost = spent.cpu_seconds, spent.device_seconds or None

        for name, head, on in _scores(columns, heads, joint):
            # Not every task has every score
            if there and name not in there:
                continue
            score = model.score(name, head, on)
            if isinstance(score, Number):
                low, high = score.interval or (None, None)
                line = [score.value, low, high, *cost, ""]
            else:
                line = [None, None, None, *cost, score.reason]
            writer.writerow([*point, name, head, on, *line])
    return buffer.getvalue()


def _scores(
    columns: Sequence[Column], heads: Sequence[str], joint: str
) -> list[tuple[str, str, str]]:
    """Name, head and set of every score that is written."""
    # The columns of the table for each head
    scores = []
    for head in (*heads, *filter(None, (joint,))):
        scores += [(name, head, on) for _, name, on in columns]
        scores += [("jsf", head, "forget"), ("loss_spearman", head, "forget")]
    of_head = [(GAP, heads[0]), *([(GAP_JOINT, joint)] if joint else [])]
    for name, head in of_head:
        scores += [(f"{name}{part}", head, "") for part in ("", *(f"_{on}" for on in PARTS))]
    return scores
