"""The gap to retraining: how far a model's five headline metrics are from models that never saw the forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.evaluation.scores import Key, Measure, derive
from forgetmi.evaluation.signals import Head
from forgetmi.evaluation.statistics import PatientSample

FLOOR = "retrain"  # under this name stands what the retrained models have in common
TERMS = (
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
    has the same number of references. A mean of absolute differences is biased upwards: read it beside that floor.

    Args:
        values: Float[m, ...], the m metrics of the model.
        retrains: Float[r, m, ...], the same metrics of r >= 2 retrained models.

    Returns:
        Float[...].

    Raises:
        EvaluationError: Fewer than two retrained models.
    """
    _enough(retrains)
    return np.mean(
        [np.abs(values - _others(retrains, r)).mean(0) for r in range(len(retrains))], axis=0
    )


def retrain_gap(retrains: Floats, one: int) -> Floats:
    """The gap of one retrained model to the mean of the others: the floor under every other model's gap.

    Args:
        retrains: Float[r, m, ...], r >= 2.
        one: Which of them.

    Raises:
        EvaluationError: Fewer than two retrained models.
    """
    _enough(retrains)
    return np.abs(retrains[one] - _others(retrains, one)).mean(0)


def _others(retrains: Floats, left_out: int) -> Floats:
    return np.delete(retrains, left_out, axis=0).mean(0)


def _enough(retrains: Floats) -> None:
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

    The floor is the mean of the retrained models' own gaps (`gap_floor`), beside the largest (`gap_floor_largest`).

    Args:
        measured: What was measured of each model; must hold the five terms of both heads.
        retrains: Names of the retrained models.
        samples: The forget and test images the terms rest on.
    """

    def terms(model: str, head: Head) -> Floats:
        found = [measured[model][name, head, on] for name, on in TERMS]
        missing = [
            Fault(f"{one.name} on {one.on} is missing", where=model, why=one.reason)
            for one in found
            if isinstance(one, Failed)
        ]
        if missing:
            raise EvaluationError(missing)
        return np.stack([one.values for one in found if isinstance(one, Measure)])

    def references(head: Head) -> Floats:
        return np.array([terms(model, head) for model in retrains])

    def of(model: str, head: Head) -> Floats:
        if model in retrains:
            return retrain_gap(references(head), retrains.index(model))
        return gap(terms(model, head), references(head))

    def floor(aggregate: Callable[..., Floats], head: Head) -> Floats:
        own = references(head)
        return aggregate([retrain_gap(own, at) for at in range(len(own))], axis=0)

    found = {
        model: [
            derive(name, partial(of, model, head), *samples, better="lower", head=head)
            for name, head in GAPS.items()
        ]
        for model in measured
    }
    if retrains:
        found[FLOOR] = [
            derive(
                f"{name}_{suffix}",
                partial(floor, aggregate, head),
                *samples,
                better="lower",
                head=head,
            )
            for name, head in GAPS.items()
            for suffix, aggregate in (("floor", np.mean), ("floor_largest", np.max))
        ]
    return found


def stayed(evaluation: Evaluation, model: str = UNLEARNED) -> bool:
    """Whether a model ended where the original was: on each of the gap's five measures within its floor of it.

    False where there is no floor to compare with."""
    try:
        floor = evaluation.get("retrain", "gap_floor", head="image")
        pairs = [
            (
                evaluation.get(model, name, head="image", on=on),
                evaluation.get(ORIGINAL, name, head="image", on=on),
            )
            for name, on in FIVE
        ]
    except KeyError:
        return False
    if isinstance(floor, Failed) or any(isinstance(one, Failed) for pair in pairs for one in pair):
        return False
    return all(abs(a.value - b.value) <= floor.value for a, b in pairs)  # type: ignore[union-attr]


FIVE = (
    ("auc", "forget"),
    ("f1", "forget"),
    ("auc", "test"),
    ("f1", "test"),
    ("sample_mia", "forget"),
)
