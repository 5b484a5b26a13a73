"""What a sweep optimises: the rule "validation", or one score of an evaluation by NAME:HEAD:SET."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np

from forgetmi.core.arrays import Labels
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.modalities import IMAGE, TODAYS_HEADS
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.core.suggest import did_you_mean
from forgetmi.evaluation import suite
from forgetmi.run.spec import RunSpec
from forgetmi.search.former_names import current_name
from forgetmi.search.rule_names import VALIDATION

ScoreKey = tuple[str, str, str]


def split_objective(text: str, *, head: str = IMAGE) -> ScoreKey:
    """Name, head and set of a score from NAME:HEAD:SET.

    Args:
        text: As it was given.
        head: Which is meant where none is given.

    Examples:
        >>> split_objective("jsf:text:forget"), split_objective("gap")
        (('jsf', 'text', 'forget'), ('gap', 'image', ''))
    """
    name, _, rest = text.partition(":")
    given, _, on = rest.partition(":")
    return name, given or head, on


def objective_of(text: str, spec: RunSpec) -> ScoreKey:
    """Name, head and set of a score of a run, of its model's first head where none is given."""
    return split_objective(text, head=heads_of_spec(spec)[0])


def heads_of_spec(spec: RunSpec) -> tuple[str, ...]:
    """The heads of the model that a run makes: one a tower, or those of image and text."""
    return tuple(tower.partition("=")[0] for tower in spec.model.towers) or TODAYS_HEADS


def check_objective(objective: str, spec: RunSpec) -> None:
    """Whether there is such a score; the cohort is only read where that depends on its classes being grades.

    Raises:
        SpecError: There is none; all are named.
    """
    heads = heads_of_spec(spec)
    wanted = objective_of(objective, spec)
    always = scores_of("classes", heads)
    if current_name(objective) == VALIDATION or wanted in always:
        return

    # Scores of other tasks need the cohort, which is read only now
    of_others = [scores_of(task, heads) - always for task in ("grades", "value", "pairs")]
    elsewhere = any(wanted in scores for scores in of_others)
    if elsewhere and wanted in scores_of(_task(spec.cohort), heads):
        return
    of_grades = of_others[0]

    # Every score, for the message
    known = [VALIDATION, *sorted(":".join(key).rstrip(":") for key in always)]
    more = sorted({name for name, _, _ in of_grades})
    of_grades_only = f"where classes are grades also {', '.join(more)} of a head and set."
    then = f"One of: {', '.join(known)}; {of_grades_only}"
    raise SpecError(
        Fault(
            f"there is no score {objective!r}",
            where="--objective, or the sweep file's metric",
            do=did_you_mean(objective, known, then=then),
        )
    )


@lru_cache(maxsize=1)
def _task(cohort: Any) -> str:
    return cohort.load().task


@cache
def scores_of(task: str, heads: tuple[str, ...] = TODAYS_HEADS) -> frozenset[ScoreKey]:
    """Name, head and set of every score of an unlearned model: those that an evaluation of three patients lists.

    Args:
        task: Name of the cohort's task.
        heads: Of the model; of pairs, what it embeds.

    Examples:
        >>> ("gap", "image", "") in scores_of("classes")
        True
    """
    # Three patients of one image each: forgotten, retained, held out
    rows = np.arange(3)
    names = rows.astype(str)
    label, columns = _labels(task)
    has_heads = task != "pairs"
    logits = {head: np.zeros((3, columns)) for head in heads} if has_heads else {}
    embedding = {} if has_heads else {head: np.ones((3, 2), np.float32) for head in heads}
    signals = Signals("", "", rows, names, names, label, logits, embedding)
    partition = Partition(
        forget=rows[:1],
        retain=rows[1:2],
        validation=rows[:0],
        holdout=rows[2:],
        patient=rows,
        group=rows,
        cohort="",
    )

    # Values do not matter, names do
    models = {ORIGINAL: signals, UNLEARNED: signals}
    evaluation = suite.evaluate(models, partition, task=task, seed=0, resamples=0)
    scores = evaluation.scores[UNLEARNED]
    return frozenset((score.name, score.head, score.on) for score in scores)


def _labels(task: str) -> tuple[Labels, int]:
    """Labels of three samples, and the columns of logits that predict them."""
    rows = np.arange(3)
    if task == "findings":
        return np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), 2
    if task == "value":
        return rows.astype(np.float64), 1
    if task == "pairs":
        return np.zeros(3, np.int64), 0
    return rows % 2, 2
