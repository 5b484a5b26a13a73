"""The gap to retraining: how far a model's five headline metrics are from models that never saw the forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import IMAGE, TODAYS_HEADS
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.registry import task_measures
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.channels import channels_of, is_link
from forgetmi.evaluation.scores import Key, Measure, derive
from forgetmi.evaluation.signals import Head, heads_of, is_together
from forgetmi.evaluation.statistics import PatientSample
from forgetmi.evaluation.tasks import measures_of

FLOOR = "retrain"  # the name under which scores of the retrained models together are stored

# Names of the gaps: of the first head, and of all heads together
GAP, GAP_JOINT = "gap", "gap_joint"

# The two parts of a gap by the set their measures are of; the latter compares the noise of training
PARTS = ("forget", "test")

# Name and set of a measure
MeasureOn = tuple[str, str]


@dataclass(frozen=True)
class GapKind:
    """A gap by its name: of which head, and over which measures."""

    name: str
    head: Head
    measures: tuple[MeasureOn, ...]

    def parts(self) -> tuple[GapKind, ...]:
        """The gap over its measures on the forgotten alone, and over those on test patients alone."""
        parts = []
        for on in PARTS:
            measures = tuple(measure for measure in self.measures if measure[1] == on)
            parts.append(GapKind(f"{self.name}_{on}", self.head, measures))
        return tuple(parts)


def gap_measures(task: TaskMeasures) -> tuple[MeasureOn, ...]:
    """The five measures of a gap: two of quality on the forgotten and on the never-seen, and one of membership.

    Examples:
        >>> from forgetmi.evaluation.tasks import measures_of
        >>> gap_measures(measures_of("classes"))
        (('auc', 'forget'), ('f1', 'forget'), ('auc', 'test'), ('f1', 'test'), ('sample_mia', 'forget'))
    """
    first, second = task.headline
    membership = "pair_auc" if task.name == "pairs" else "sample_mia"
    return (
        *((name, on) for on in ("forget", "test") for name in (first, second)),
        (membership, "forget"),
    )


def gap_kinds(signals: Signals, task: TaskMeasures) -> tuple[GapKind, ...]:
    """The gaps of a model: of its first head (of its first link, where it has no head), and of all heads together.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> from forgetmi.evaluation.tasks import measures_of
        >>> kinds = gap_kinds(toy_knowledge().audited, measures_of("classes"))
        >>> [kind.name for kind in kinds], [part.name for part in kinds[0].parts()]
        (['gap', 'gap_joint'], ['gap_forget', 'gap_test'])
    """
    measures = gap_measures(task)
    heads = heads_of(signals)
    if not heads:
        links = [channel for channel in channels_of(signals) if is_link(channel)]
        return (GapKind(GAP, links[0], measures),) if links else ()

    first = GapKind(GAP, heads[0], measures)
    if not is_together(heads[-1]):
        return (first,)
    return first, GapKind(GAP_JOINT, heads[-1], measures)


def gap(values: Floats, retrains: Floats) -> Floats:
    """Mean absolute difference of a model's metrics to retraining, averaged over the retrain that is left out.

    For each retrain r, the reference is the mean of the retrains other than r; a retrain's own gap (`retrain_gap`)
    has the same number of references. A mean of absolute differences is biased upwards: read it together with that
    floor.

    Args:
        values: Float[m, ...], the m metrics of the model.
        retrains: Float[r, m, ...], the same metrics of r >= 2 retrained models.

    Returns:
        Float[...].

    Raises:
        EvaluationError: Fewer than two retrained models.

    Examples:
        >>> float(gap(np.array([0.9, 0.6]), np.array([[0.7, 0.6], [0.7, 0.6]])).round(3))
        0.1
    """
    _require_two(retrains)
    # Each retrained model is left out once, so that floors compare
    left_out = range(len(retrains))
    return np.mean([_distance(values, retrains, number) for number in left_out], axis=0)


def retrain_gap(retrains: Floats, number: int) -> Floats:
    """The gap of one retrained model to the mean of the others: the floor under every other model's gap.

    Args:
        retrains: Float[r, m, ...], r >= 2.
        number: Which of them.

    Raises:
        EvaluationError: Fewer than two retrained models.

    Examples:
        >>> float(retrain_gap(np.array([[0.7, 0.6], [0.8, 0.6]]), 0).round(3))
        0.05
    """
    _require_two(retrains)
    return _distance(retrains[number], retrains, number)


def _distance(values: Floats, retrains: Floats, left_out: int) -> Floats:
    """Mean absolute difference to the mean of the retrained models other than one."""
    # The reference: the mean of the others
    others = np.delete(retrains, left_out, axis=0).mean(0)
    return np.abs(values - others).mean(0)


def _require_two(retrains: Floats) -> None:
    if len(retrains) < 2:
        raise EvaluationError(
            Fault(
                f"the gap needs at least two retrained models, there are {len(retrains)}",
                do="Train another one with a different seed.",
            )
        )


def gaps(
    measured: Mapping[str, Mapping[Key, Measure | Failed]],
    *,
    retrains: list[str],
    samples: Mapping[Head, tuple[PatientSample, ...]],
    kinds: Sequence[GapKind],
) -> dict[str, list[Measure | Failed]]:
    """Each model's gaps, whole and in two parts, and under "retrain" their floors.

    The floor is the mean of the retrained models' own gaps (`gap_floor`); the largest is `gap_floor_largest`. A gap is
    the mean of its parts, each weighted by its measures.

    Args:
        measured: What was measured of each model; must have the five measures of each gap.
        retrains: Names of the retrained models.
        samples: By head, the forget and test images its measures rest on.
        kinds: Which gaps, see `gap_kinds`.
    """
    # Reads the measures, and raises where one is missing
    table = _Table(measured, retrains)

    # Every model, retrained ones included
    result: dict[str, list[Measure | Failed]] = {}
    for model in measured:
        result[model] = []
        for kind in kinds:
            for of in (kind, *kind.parts()):
                values = partial(table.gap, model, of)
                result[model].append(derive(of.name, values, *samples[of.head], head=of.head))

    # The floor, only where there is a retrained model
    if retrains:
        result[FLOOR] = []
        for kind in kinds:
            for suffix, aggregate in (("floor", np.mean), ("floor_largest", np.max)):
                name = f"{kind.name}_{suffix}"
                values = partial(table.floor, aggregate, kind)
                result[FLOOR].append(derive(name, values, *samples[kind.head], head=kind.head))
            for part in kind.parts():
                values = partial(table.floor, np.mean, part)
                name = f"{part.name}_floor"
                result[FLOOR].append(derive(name, values, *samples[kind.head], head=kind.head))
    return result


@dataclass(frozen=True, eq=False)
class _Table:
    """The five measures of every model; reading raises where one is missing."""

    measured: Mapping[str, Mapping[Key, Measure | Failed]]
    retrains: Sequence[str]

    def values(self, model: str, kind: GapKind) -> Floats:
        """Float[m, 1 + b] of a model."""
        faults, values = [], []
        for name, on in kind.measures:
            measure = self.measured[model].get((name, kind.head, on))
            if measure is None:
                why = f"the model has no {kind.head} head"
                faults.append(Fault(f"{name} on {on} is missing", where=model, why=why))
            elif isinstance(measure, Failed):
                faults.append(Fault(f"{name} on {on} is missing", where=model, why=measure.reason))
            else:
                values.append(measure.values)

        if faults:
            raise EvaluationError(faults)
        return np.stack(values)

    def references(self, kind: GapKind) -> Floats:
        """Float[r, m, 1 + b] of the retrained models."""
        return np.array([self.values(model, kind) for model in self.retrains])

    def gap(self, model: str, kind: GapKind) -> Floats:
        """Float[1 + b] of a model; a retrained one is compared with the others."""
        # A retrained model is not its own reference
        references = self.references(kind)
        if model in self.retrains:
            return retrain_gap(references, self.retrains.index(model))
        return gap(self.values(model, kind), references)

    def floor(self, aggregate: Callable[..., Floats], kind: GapKind) -> Floats:
        """Float[1 + b]: mean or largest of the retrained models' own gaps."""
        references = self.references(kind)
        own_gaps = [retrain_gap(references, number) for number in range(len(references))]
        return aggregate(own_gaps, axis=0)


def main_head(evaluation: Evaluation) -> Head:
    """The head that a run's headline numbers are of: its first, whose gap is the gap; "image" where there is none.

    Examples:
        >>> main_head(Evaluation({}))
        'image'
    """
    for scores in evaluation.scores.values():
        for score in scores:
            if score.name == GAP:
                return score.head
    return IMAGE


def single_heads(evaluation: Evaluation) -> tuple[Head, ...]:
    """The heads that scores stand under, without all heads together; today's two where there are none.

    Examples:
        >>> single_heads(Evaluation({"original": (Failed("auc", "no labels", "table", "test"),)}))
        ('table',)
    """
    heads: dict[Head, None] = {}
    for scores in evaluation.scores.values():
        for score in scores:
            if score.head and not is_together(score.head):
                heads[score.head] = None
    # Links count where the model has nothing else
    own = [head for head in heads if not is_link(head)]
    return tuple(own or heads) or TODAYS_HEADS


def headline_measures(evaluation: Evaluation) -> tuple[MeasureOn, ...]:
    """The measures that a run's gap rests on; those of classes where none are there."""
    names = {score.name for scores in evaluation.scores.values() for score in scores}

    # This package's tasks, then those of others
    for task in dict.fromkeys(("classes", "value", "pairs", *task_measures.names())):
        measures = gap_measures(measures_of(task))
        if names & {measures[0][0]}:
            return measures
    return gap_measures(measures_of("classes"))


def stayed(evaluation: Evaluation, model: str = UNLEARNED) -> bool:
    """Whether a model ended where the original was: on each of the gap's five measures within its floor of it.

    False where there is no floor to compare with.

    Examples:
        >>> stayed(Evaluation({}))
        False
    """
    head = main_head(evaluation)
    try:
        floor = evaluation.get(FLOOR, f"{GAP}_floor", head=head)
        if isinstance(floor, Failed):
            return False

        # Each measure may differ by the floor at most
        for name, on in headline_measures(evaluation):
            score = evaluation.get(model, name, head=head, on=on)
            before = evaluation.get(ORIGINAL, name, head=head, on=on)
            if isinstance(score, Failed) or isinstance(before, Failed):
                return False
            if abs(score.value - before.value) > floor.value:
                return False
    except KeyError:
        return False
    return True
