"""How much more a model gives forgotten patients away than retrained models do, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from forgetmi.audit.forget_draw import ForgetDraw
from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.matching import match
from forgetmi.evaluation.multiplicity import Counts
from forgetmi.evaluation.statistics import (
    UNDEFINED_ALLOWED,
    PatientSample,
    draws,
    ratio,
    resample_patients,
    weighted_mean,
)

NAMES = ("unlearned", "original", "performance")
_BLOCK = 2_000_000  # weights in memory at once


@dataclass(frozen=True)
class DeltaEstimate:
    """A number with its percentile interval and one-sided p-values of "not above 0" and "not below 0"."""

    value: float
    low: float
    high: float
    p_above: float
    p_below: float


@dataclass(frozen=True, eq=False)
class Deltas:
    """One channel, all forget draws pooled.

    Args:
        unlearned: S(unlearned) - mean over retrained models of S.
        original: The same of the original: how much there was to forget.
        performance: Share of forgotten images predicted right, less the retrained models'; None for the link.
        separation: S of the unlearned model, and the retrained models' mean.
        effective: Never-seen patients, counted as equally weighted ones, of the smallest draw.
    """

    unlearned: DeltaEstimate
    original: DeltaEstimate
    performance: DeltaEstimate | None
    separation: tuple[float, float]
    effective: float


def deltas(draws: Sequence[ForgetDraw], *, level: float, resamples: int, seed: int) -> Deltas:
    """Pool forget draws of one channel.

    S = AUC of forgotten against never-seen patients, the latter weighted to the former's study counts and labels.
    Differences are paired: a resample takes the same patients for every model, never-seen patients alike in all draws,
    forgotten ones draw by draw. It also takes r - 1 of r retrained models with replacement, which gives their mean
    its full variance (Rao and Wu 1988; r of r would give (r - 1) / r of it). Draws count by their patients.

    Args:
        draws: One or more, each with >= 2 retrained models and >= 2 patients a side.
        level: Coverage of the intervals, in (0, 1).
        resamples: >= 1.
        seed: Root seed.

    Raises:
        EvaluationError: A draw is too small, or S is undefined in more than 5 % of the resamples.
    """
    _require_enough(draws)

    # The same resampled never-seen patients in all draws
    codes = np.unique(np.concatenate([draw.patient[draw.members :] for draw in draws]))
    never = resample_patients(
        codes, resamples=resamples, generator=numpy_generator(seed, "verdict", "never seen")
    )

    # Differences of every draw, pooled by its share of the forgotten patients
    total = sum(draw.members for draw in draws)
    effective = np.inf
    pooled: dict[str, Floats] = {}
    for index, draw in enumerate(draws):
        weights = _weights_of_draw(draw, index, codes=codes, never=never, seed=seed)
        effective = min(effective, weights.effective)

        for name, values in _differences(draw, weights).items():
            pooled[name] = pooled.get(name, 0.0) + values * draw.members / total

    estimates = {name: _estimate(values, level) for name, values in pooled.items() if name in NAMES}
    return Deltas(
        unlearned=estimates["unlearned"],
        original=estimates["original"],
        performance=estimates.get("performance"),
        separation=(float(pooled["S"][0]), float(pooled["S retrained"][0])),
        effective=float(effective),
    )


def separation(
    members: Floats,
    never_seen: Floats,
    *,
    inside: Floats | Counts,
    outside: Floats | Counts,
    matched: Floats | None = None,
) -> Floats:
    """AUC under weights of both sides: probability that a forgotten patient's signal is above a never-seen one's.

    Args:
        members, never_seen: Float[f], Float[m]; equal signals count half.
        inside, outside: Number[b, f], Number[b, m].
        matched: Float[m], by which each never-seen patient's weight is multiplied; None = 1.

    Returns:
        Float[b], NaN where a side has no weight.
    """
    # The weight of the members below a never-seen patient, and of those below or equal, are sums over a sorted list
    order = np.argsort(members, kind="stable")[: np.count_nonzero(~np.isnan(members))]
    below = np.searchsorted(members[order], never_seen, "left")
    not_above = np.searchsorted(members[order], never_seen, "right")

    # Some resamples at a time, so that memory does not grow with their number
    values = []
    step = max(1, _BLOCK // max(len(members), len(never_seen)))
    for start in range(0, len(inside), step):
        of_members = inside[start : start + step]
        of_others = outside[start : start + step]
        if matched is not None:
            of_others = of_others * matched

        # Float[b, m]: the weight of the members above each never-seen patient, equal ones half
        sums = np.zeros((len(of_members), len(order) + 1))
        np.cumsum(of_members[:, order], axis=1, dtype=np.float64, out=sums[:, 1:])
        equal_or_below = np.take(sums, below, axis=1) + np.take(sums, not_above, axis=1)
        wins = sums[:, -1:] - equal_or_below / 2

        sides = of_members.sum(1) * of_others.sum(1)
        values.append(ratio((wins * of_others).sum(1), sides))
    return np.concatenate(values)


def model_weights(models: int, resamples: int, generator: np.random.Generator) -> Floats:
    """Weights of r >= 2 retrained models: equal ones, then b times r - 1 models drawn with replacement.

    The full variance of their mean comes from r - 1 of r (Rao and Wu 1988).

    Returns:
        Float[1 + b, r]; each row sums to 1.
    """
    # The data as they are, then r - 1 of r models with replacement
    equal = np.full(models, 1 / models)
    counts = generator.multinomial(models - 1, equal, size=resamples)
    drawn = counts / (models - 1)
    return np.concatenate([np.full((1, models), 1 / models), drawn])


def _require_enough(draws: Sequence[ForgetDraw]) -> None:
    """Every draw needs two patients a side and two retrained models."""
    if not draws:
        raise EvaluationError([Fault("there is no forget draw")])

    # All draws that are too small, at once
    faults = []
    for index, draw in enumerate(draws):
        never_seen = len(draw.patient) - draw.members
        models = len(draw.retrained)

        if min(draw.members, never_seen, models) < 2:
            faults.append(
                Fault(
                    f"forget draw {index} has {draw.members} forgotten and {never_seen} never-seen "
                    f"patients and {models} retrained models",
                    why="at least two of each are needed",
                )
            )

    if faults:
        raise EvaluationError(faults)


@dataclass(frozen=True, eq=False)
class _DrawWeights:
    """What a resample takes of one draw; row 0 is the data as they are.

    Args:
        inside: The forgotten patients.
        outside: UInt[1 + b, m], how often each never-seen patient is drawn.
        matched: Float[m], weights of the never-seen patients beside that.
        models: Float[1 + b, r], weights of the retrained models.
        effective: Never-seen patients, counted as equally weighted ones.
    """

    inside: PatientSample
    outside: Counts
    matched: Floats
    models: Floats
    effective: float


def _weights_of_draw(
    draw: ForgetDraw, index: int, *, codes: Ints, never: PatientSample, seed: int
) -> _DrawWeights:
    forgotten_codes, never_codes = _sides(draw, draw.patient)

    # Row 0 of the multiplicities is the data as they are
    resamples = len(never.multiplicity) - 1

    # Forgotten patients are resampled draw by draw
    forgotten = resample_patients(
        forgotten_codes,
        resamples=resamples,
        generator=numpy_generator(seed, "verdict", "forgotten", index),
    )

    # Never-seen patients are weighted to the study counts and labels of the forgotten
    matching = match(label=_sides(draw, draw.label), studies=_sides(draw, draw.studies))
    outside = never.multiplicity[:, np.searchsorted(codes, never_codes)]

    # Retrained models are resampled, too
    models = model_weights(
        len(draw.retrained), resamples, numpy_generator(seed, "verdict", "retrained", index)
    )
    return _DrawWeights(forgotten, outside, matching.weights, models, matching.effective)


def _sides(draw: ForgetDraw, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of the forgotten and of the never-seen patients."""
    return values[: draw.members], values[draw.members :]


def _differences(draw: ForgetDraw, weights: _DrawWeights) -> dict[str, Floats]:
    """Each number under every resample, Float[1 + b]."""

    def auc(signal: Floats) -> Floats:
        members, never_seen = _sides(draw, signal)
        return separation(
            members,
            never_seen,
            inside=weights.inside.multiplicity[:, weights.inside.patient],
            outside=weights.outside,
            matched=weights.matched,
        )

    # Separation of each model, and its mean over the resampled retrained models
    unlearned = auc(draw.unlearned)
    original = auc(draw.original)
    retrained = np.stack([auc(signal) for signal in draw.retrained], axis=1)
    reference = (weights.models * retrained).sum(1)

    differences = {
        "unlearned": unlearned - reference,
        "original": original - reference,
        "S": unlearned,
        "S retrained": reference,
    }

    # Accuracy on forgotten images, in the same way
    if draw.correct is not None:
        accuracy = [
            draws(weights.inside, partial(weighted_mean, correct[: draw.members]))
            for correct in draw.correct
        ]
        expected = (weights.models * np.stack(accuracy[1:], axis=1)).sum(1)
        differences["performance"] = accuracy[0] - expected

    return differences


def _estimate(values: Floats, level: float) -> DeltaEstimate:
    """The number (element 0) with interval and p-values from its resamples."""
    resampled = values[1:][~np.isnan(values[1:])]
    if len(resampled) < (1 - UNDEFINED_ALLOWED) * (len(values) - 1):
        raise EvaluationError(
            Fault("too many resamples hold no never-seen patient", do="Use more of them.")
        )

    # Percentile interval, and the share of resamples on the other side of 0
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    above = (1 + (resampled <= 0).sum()) / (1 + len(resampled))
    below = (1 + (resampled >= 0).sum()) / (1 + len(resampled))

    return DeltaEstimate(
        value=float(values[0]),
        low=float(low),
        high=float(high),
        p_above=float(above),
        p_below=float(below),
    )
