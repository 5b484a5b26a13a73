"""One measure for the original, the unlearned and the retrained models, and whether intervals tell them apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.core.model_names import ORIGINAL, UNLEARNED, is_retrained
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.evaluation.gaps import GAP, GAP_JOINT, headline_measures
from forgetmi.report.number_text import signed
from forgetmi.report.terms import gap_meaning, head_name, meaning, term

NOT_RESOLVABLE = "not resolvable"


@dataclass(frozen=True)
class Reading:
    """One measure for the original, the unlearned and the retrained models; None = that model does not have it.

    Args:
        name, head, on: Which measure, of which head, on which set.
        original, unlearned: Score, or why there is none.
        retrains: Scores of the retrained models.
        failed: The retrained models' failures.
        rests_on: Of a gap, the measures of quality and of membership that it is made of.
    """

    name: str
    head: str
    on: str
    original: Score | Failed | None
    unlearned: Score | Failed | None
    retrains: tuple[Score, ...]
    failed: tuple[Failed, ...]
    rests_on: tuple[str, ...] = ("auc", "f1", "sample_mia")

    @property
    def term(self) -> str:
        """The measure's name."""
        return term(self.name)

    @property
    def label(self) -> str:
        """The measure's name with its head."""
        return label(self)

    @property
    def meaning(self) -> str:
        """The measure in plain words."""
        return gap_meaning(self.rests_on) if self.name in (GAP, GAP_JOINT) else meaning(self.name)

    @property
    def retrained(self) -> tuple[float, float, float] | None:
        """Mean, lowest and highest of the retrained models."""
        values = [score.value for score in self.retrains]
        if not values:
            return None
        return float(np.mean(values)), min(values), max(values)

    @property
    def counts(self) -> tuple[int, int] | None:
        """Patients and images the unlearned model's score (or any other) rests on."""
        for score in (self.unlearned, self.original, *self.retrains):
            if isinstance(score, Score):
                return score.patients, score.images
        return None


@dataclass(frozen=True)
class ScoreDifference:
    """A model's value minus the others' mean, and whether the intervals allow to tell them apart."""

    text: str
    resolvable: bool

    @property
    def words(self) -> str:
        """ "resolvable" or "not resolvable"."""
        return resolvable(self.resolvable)


def label(measure: Score | Failed | Reading) -> str:
    """A measure's name with its head."""
    if not measure.head:
        return term(measure.name)
    return f"{term(measure.name)}, {head_name(measure.head)}"


def resolvable(apart: bool) -> str:
    """The word for whether intervals tell two models apart."""
    return "resolvable" if apart else NOT_RESOLVABLE


def read(
    evaluation: Evaluation,
    names: Iterable[str] | None = None,
    *,
    on: Iterable[str] | None = None,
    heads: Iterable[str] | None = None,
) -> list[Reading]:
    """All readings of a run's models, in the evaluation's order, that match; None = any.

    Args:
        evaluation: All scores.
        names, on, heads: Measures, sets and heads to keep.
    """
    # Sets, for fast look-ups; None = any
    wanted_names = None if names is None else set(names)
    wanted_heads = None if heads is None else set(heads)
    wanted_sets = None if on is None else set(on)

    # What a gap is made of
    measures = headline_measures(evaluation)
    rests_on = (measures[0][0], measures[1][0], measures[-1][0])

    # In the evaluation's order
    readings = []
    for name, head, place in _measures(evaluation):
        name_fits = _fits(name, wanted_names)
        head_fits = _fits(head, wanted_heads)
        set_fits = _fits(place, wanted_sets)

        if name_fits and head_fits and set_fits:
            readings.append(_reading(evaluation, name, head, place, rests_on))

    return readings


def told_apart(model: Score, others: Sequence[Score]) -> bool:
    """Whether the intervals allow to tell a model from others on one measure.

    They do when the model's 95 % interval stays clear of the range of the others' values and its value lies in none of
    the others' intervals. The rule is the same in both directions and errs towards "not resolvable": intervals over
    the same patients are correlated, which it does not use.

    Args:
        model: The model's score.
        others: One or more scores of the same measure.

    Returns:
        False also where an interval is missing.
    """
    if model.interval is None or not others:
        return False

    # The model's interval must stay clear of the others' values
    values = [other.value for other in others]
    if model.interval[0] <= max(values) and model.interval[1] >= min(values):
        return False

    # Its value must lie in none of their intervals
    for other in others:
        if other.interval is None or other.interval[0] <= model.value <= other.interval[1]:
            return False
    return True


def difference(
    model: Score | Failed | None, others: Sequence[Score | Failed | None]
) -> ScoreDifference | None:
    """How a model differs from others on one measure; None where a value is missing."""
    scores = [other for other in others if isinstance(other, Score)]
    if not isinstance(model, Score) or not scores:
        return None

    # Against the mean, told apart by the intervals
    mean = float(np.mean([score.value for score in scores]))
    return ScoreDifference(signed(model.value - mean), told_apart(model, scores))


def _measures(evaluation: Evaluation) -> dict[tuple[str, str, str], None]:
    """Name, head and set of everything that a single model has, each once, in order."""
    measures: dict[tuple[str, str, str], None] = {}
    for model, scores in evaluation.scores.items():
        # The floor belongs to no single model
        single = model in (ORIGINAL, UNLEARNED) or is_retrained(model)
        if not single:
            continue
        for score in scores:
            measures[score.name, score.head, score.on] = None
    return measures


def _fits(value: str, wanted: Collection[str] | None) -> bool:
    return wanted is None or value in wanted


def _reading(
    evaluation: Evaluation, name: str, head: str, on: str, rests_on: tuple[str, ...]
) -> Reading:
    # The same measure of every model
    by_model: dict[str, Score | Failed | None] = {}
    for model in evaluation.scores:
        by_model[model] = _score_of(evaluation, model, (name, head, on))

    # Retrained models that have it, or failed
    retrains = [score for model, score in by_model.items() if is_retrained(model)]
    return Reading(
        name=name,
        head=head,
        on=on,
        original=by_model.get(ORIGINAL),
        unlearned=by_model.get(UNLEARNED),
        retrains=tuple(score for score in retrains if isinstance(score, Score)),
        failed=tuple(score for score in retrains if isinstance(score, Failed)),
        rests_on=rests_on,
    )


def _score_of(
    evaluation: Evaluation, model: str, measure: tuple[str, str, str]
) -> Score | Failed | None:
    for score in evaluation.scores[model]:
        if (score.name, score.head, score.on) == measure:
            return score
    return None
