"""What a sweep optimises: the rule "validation", or one score of an evaluation by NAME:HEAD:SET."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.core.suggest import did_you_mean
from forgetmi.evaluation import suite
from forgetmi.run.spec import RunSpec
from forgetmi.search.former_names import current_name
from forgetmi.search.rule_names import VALIDATION

ScoreKey = tuple[str, str, str]


def split_objective(text: str) -> ScoreKey:
    """Name, head and set of a score from NAME:HEAD:SET; the head is the image's where none is given.

    Examples:
        >>> split_objective("jsf:text:forget"), split_objective("gap")
        (('jsf', 'text', 'forget'), ('gap', 'image', ''))
    """
    name, _, rest = text.partition(":")
    head, _, on = rest.partition(":")
    return name, head or "image", on


def check_objective(objective: str, spec: RunSpec) -> None:
    """Whether there is such a score; the cohort is only read where that depends on its classes being grades.

    Raises:
        SpecError: There is none; all are named.
    """
    wanted = split_objective(objective)
    always = scores_of("classes")
    if current_name(objective) == VALIDATION or wanted in always:
        return

    # Scores of grades need the cohort, which is read only now
    of_grades = scores_of("grades") - always
    if wanted in of_grades and _task(spec.cohort) == "grades":
        return

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
def scores_of(task: str) -> frozenset[ScoreKey]:
    """Name, head and set of every score of an unlearned model: those that an evaluation of three patients lists.

    Args:
        task: Name of the cohort's task.

    Examples:
        >>> ("gap", "image", "") in scores_of("classes")
        True
    """
    # Three patients of one image each: forgotten, retained, held out
    rows = np.arange(3)
    names = rows.astype(str)
    logits = np.zeros((3, 2))
    signals = Signals.image_text("", "", rows, names, names, rows % 2, logits, logits)
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
