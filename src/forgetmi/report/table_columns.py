"""Which measures the results table shows: the paper's five of classes, and their like of other tasks."""

from __future__ import annotations

from typing import TypeAlias

from forgetmi.core.scores import Evaluation
from forgetmi.evaluation.gaps import headline_measures

# Heading, score name, set
Column: TypeAlias = tuple[str, str, str]

# The paper's (Forget-MI, arXiv 2506.23145, Table 1)
COLUMNS: tuple[Column, ...] = (
    ("MIA", "sample_mia", "forget"),
    ("AUC forget", "auc", "forget"),
    ("F1 forget", "f1", "forget"),
    ("AUC test", "auc", "test"),
    ("F1 test", "f1", "test"),
)

_HEADINGS = {
    "sample_mia": "MIA",
    "pair_auc": "pair AUC",
    "auc": "AUC",
    "f1": "F1",
    "r2": "R2",
    "rank_correlation": "rank correlation",
    "mae": "MAE",
    "recall_at_1": "recall@1",
    "recall_at_5": "recall@5",
    "recall_at_10": "recall@10",
}

# What is shown beside the measures of the gap, where it was scored
_FURTHER = ("mae", "recall_at_10")
_MEMBERSHIP = ("sample_mia", "pair_auc")


def columns_of(evaluation: Evaluation) -> tuple[Column, ...]:
    """The measures that the gap of these scores rests on, membership first, and what a task shows besides.

    Examples:
        >>> columns_of(Evaluation({})) == COLUMNS
        True
    """
    measures = headline_measures(evaluation)
    membership = [measure for measure in measures if measure[0] in _MEMBERSHIP]
    quality = [measure for measure in measures if measure[0] not in _MEMBERSHIP]

    scored = {score.name for scores in evaluation.scores.values() for score in scores}
    further = [name for name in _FURTHER if name in scored]
    quality += [(name, on) for on in ("forget", "test") for name in further]

    # Membership is of the forgotten alone, so that its set goes without saying
    columns = [(heading(name), name, on) for name, on in membership]
    columns += [(f"{heading(name)} {on}", name, on) for name, on in quality]
    return tuple(columns)


def heading(name: str) -> str:
    """A measure's name above a column.

    Examples:
        >>> heading("recall_at_5"), heading("loss_auc")
        ('recall@5', 'loss auc')
    """
    return _HEADINGS.get(name, name.replace("_", " "))
