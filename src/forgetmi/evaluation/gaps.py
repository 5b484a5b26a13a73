"""The gap to retraining: how far a model's five headline metrics are from models that never saw the forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.evaluation.scores import Key, Measure, derive
from forgetmi.evaluation.signals import Head
from forgetmi.evaluation.statistics import PatientSample

FLOOR = "retrain"  # the name under which scores of the retrained models together are stored

# The five measures of the gap: name and set
GAP_MEASURES = (
    ("auc", "forget"),
    ("f1", "forget"),
    ("auc", "test"),
    ("f1", "test"),
    ("sample_mia", "forget"),
)
GAPS: dict[str, Head] = {"gap": "image", "gap_joint": "both"}


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
    samples: tuple[PatientSample, ...],
) -> dict[str, list[Measure | Failed]]:
    """Each model's gap of the image head and of both heads, and under "retrain" the floor.

    The floor is the mean of the retrained models' own gaps (`gap_floor`); the largest is `gap_floor_largest`.

    Args:
        measured: What was measured of each model; must have the five measures of both heads.
        retrains: Names of the retrained models.
        samples: The forget and test images the measures rest on.
    """
    # Reads the measures, and raises where one is missing
    table = _Table(measured, retrains)

    # Every model, retrained ones included
    result: dict[str, list[Measure | Failed]] = {}
    for model in measured:
        result[model] = []
        for name, head in GAPS.items():
            values = partial(table.gap, model, head)
            result[model].append(derive(name, values, *samples, head=head))

    # The floor, only where there is a retrained model
    if retrains:
        result[FLOOR] = []
        for name, head in GAPS.items():
            for suffix, aggregate in (("floor", np.mean), ("floor_largest", np.max)):
                values = partial(table.floor, aggregate, head)
                result[FLOOR].append(derive(f"{name}_{suffix}", values, *samples, head=head))
    return result


@dataclass(frozen=True, eq=False)
class _Table:
    """The five measures of every model; reading raises where one is missing."""

    measured: Mapping[str, Mapping[Key, Measure | Failed]]
    retrains: Sequence[str]

    def values(self, model: str, head: Head) -> Floats:
        """Float[5, 1 + b] of a model."""
        faults, values = [], []
        for name, on in GAP_MEASURES:
            measure = self.measured[model].get((name, head, on))
            if measure is None:
                why = f"the model has no {head} head"
                faults.append(Fault(f"{name} on {on} is missing", where=model, why=why))
            elif isinstance(measure, Failed):
                faults.append(Fault(f"{name} on {on} is missing", where=model, why=measure.reason))
            else:
                values.append(measure.values)

        if faults:
            raise EvaluationError(faults)
        return np.stack(values)

    def references(self, head: Head) -> Floats:
        """Float[r, 5, 1 + b] of the retrained models."""
        return np.array([self.values(model, head) for model in self.retrains])

    def gap(self, model: str, head: Head) -> Floats:
        """Float[1 + b] of a model; a retrained one is compared with the others."""
        # A retrained model is not its own reference
        references = self.references(head)
        if model in self.retrains:
            return retrain_gap(references, self.retrains.index(model))
        return gap(self.values(model, head), references)

    def floor(self, aggregate: Callable[..., Floats], head: Head) -> Floats:
        """Float[1 + b]: mean or largest of the retrained models' own gaps."""
        references = self.references(head)
        own_gaps = [retrain_gap(references, number) for number in range(len(references))]
        return aggregate(own_gaps, axis=0)


def stayed(evaluation: Evaluation, model: str = UNLEARNED) -> bool:
    """Whether a model ended where the original was: on each of the gap's five measures within its floor of it.

    False where there is no floor to compare with.

    Examples:
        >>> stayed(Evaluation({}))
        False
    """
    try:
        floor = evaluation.get(FLOOR, "gap_floor", head="image")
        if isinstance(floor, Failed):
            return False

        # Each measure may differ by the floor at most
        for name, on in GAP_MEASURES:
            score = evaluation.get(model, name, head="image", on=on)
            before = evaluation.get(ORIGINAL, name, head="image", on=on)
            if isinstance(score, Failed) or isinstance(before, Failed):
                return False
            if abs(score.value - before.value) > floor.value:
                return False
    except KeyError:
        return False
    return True
