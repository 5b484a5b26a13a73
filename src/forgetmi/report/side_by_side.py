"""Two methods of one run in one table: the original, both new models, the retrained ones."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from forgetmi.core.cost import Cost
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, is_retrained
from forgetmi.core.scores import Evaluation, Score
from forgetmi.evaluation.gaps import headline_measures, main_head

NONE = "-"


@dataclass(frozen=True, eq=False)
class Column:
    """One method.

    Args:
        title: Its name for readers.
        evaluation: Scores of the original, of its model and of the retrained ones.
        cost: Of its unlearning.
        outcome: What the rule says of it; empty = nothing.
    """

    title: str
    evaluation: Evaluation
    cost: Cost
    outcome: str


@dataclass(frozen=True)
class SideBySide:
    """The table.

    Args:
        head: Whose scores they are.
        titles: Of the columns.
        rows: Title of a row, and its cells.
    """

    head: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def side_by_side(first: Column, second: Column, retraining: Cost | None) -> SideBySide:
    """Make the table: the measures of the gap, the gap and jsf of the first head, what each cost, and its verdict.

    Args:
        first, second: The methods.
        retraining: Cost of one retraining by the run's recipe; None = none was made.
    """
    evaluation = first.evaluation
    head = main_head(evaluation)

    # Each measure of all models; those of the original and of the retrained are the same for both methods
    rows = []
    for name, on in (*headline_measures(evaluation), ("gap", ""), ("jsf", "forget")):
        retrained = [model for model in evaluation.scores if is_retrained(model)]
        cells = (
            _mean(evaluation, [ORIGINAL], name, head, on),
            _mean(evaluation, [UNLEARNED], name, head, on),
            _mean(second.evaluation, [UNLEARNED], name, head, on),
            _mean(evaluation, retrained, name, head, on),
        )
        rows.append((f"{name} on {on}" if on else name, cells))

    # What they cost, and what the rule says
    if retraining is not None:
        kind = retraining.kind.replace("processor", "CPU")
        shares = (NONE, _share(first.cost, retraining), _share(second.cost, retraining), "1.00")
        rows.append((f"{kind} / one retraining", shares))
    if first.outcome or second.outcome:
        rows.append(("verdict", (NONE, first.outcome, second.outcome, NONE)))
    return SideBySide(head, ("original", first.title, second.title, "retrained"), tuple(rows))


def _mean(evaluation: Evaluation, models: list[str], name: str, head: str, on: str) -> str:
    """Mean of a score over models, or a dash where it was not or could not be measured."""
    values = []
    for model in models:
        try:
            score = evaluation.get(model, name, head=head, on=on)
        except KeyError:
            continue
        if isinstance(score, Score):
            values.append(score.value)
    return f"{statistics.mean(values):.3f}" if values else NONE


def _share(cost: Cost, retraining: Cost) -> str:
    if retraining.busy <= 0 or cost.kind != retraining.kind:
        return NONE
    return f"{cost.busy / retraining.busy:.2f}"
