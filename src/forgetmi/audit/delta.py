"""How much more a model gives forgotten patients away than retrained models do, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.audit.forget_draw import ForgetDraw
from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.matching import match
from forgetmi.evaluation.statistics import (
    UNDEFINED_ALLOWED,
    ratio,
    resample_patients,
    weighted_mean,
)

NAMES = ("unlearned", "original", "performance")


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
    faults = [
        Fault(
            f"forget draw {at} has {one.members} forgotten and {len(one.patient) - one.members} never-seen "
            f"patients and {len(one.retrained)} retrained models",
            why="at least two of each are needed",
        )
        for at, one in enumerate(draws)
        if min(one.members, len(one.patient) - one.members, len(one.retrained)) < 2
    ]
    if faults or not draws:
        raise EvaluationError(faults or [Fault("there is no forget draw")])
    codes = np.unique(np.concatenate([one.patient[one.members :] for one in draws]))
    never = resample_patients(
        codes, resamples=resamples, generator=numpy_generator(seed, "verdict", "never seen")
    )
    total, effective = sum(one.members for one in draws), np.inf
    pooled: dict[str, Floats] = {}
    for at, one in enumerate(draws):
        asked, others = _sides(one, one.patient)
        matching = match(label=_sides(one, one.label), studies=_sides(one, one.studies))
        effective = min(effective, matching.effective)
        forgotten = resample_patients(
            asked, resamples=resamples, generator=numpy_generator(seed, "verdict", "forgotten", at)
        )
        outside = never.multiplicity[:, np.searchsorted(codes, others)] * matching.weights
        models = model_weights(
            len(one.retrained), resamples, numpy_generator(seed, "verdict", "retrained", at)
        )
        inside = forgotten.multiplicity[:, forgotten.patient]
        for name, values in _differences(
            one, inside=inside, outside=outside, models=models
        ).items():
            pooled[name] = pooled.get(name, 0.0) + values * one.members / total
    estimates = {name: _estimate(values, level) for name, values in pooled.items() if name in NAMES}
    return Deltas(
        unlearned=estimates["unlearned"],
        original=estimates["original"],
        performance=estimates.get("performance"),
        separation=(float(pooled["S"][0]), float(pooled["S retrained"][0])),
        effective=float(effective),
    )


def separation(members: Floats, never_seen: Floats, *, inside: Floats, outside: Floats) -> Floats:
    """AUC under weights of both sides: probability that a forgotten patient's signal is above a never-seen one's.

    Args:
        members, never_seen: Float[f], Float[m]; equal signals count half.
        inside, outside: Float[b, f], Float[b, m].

    Returns:
        Float[b], NaN where a side has no weight.
    """
    wins = (members[:, None] > never_seen) + 0.5 * (members[:, None] == never_seen)
    return ratio(((inside @ wins) * outside).sum(1), inside.sum(1) * outside.sum(1))


def _sides(draw: ForgetDraw, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[: draw.members], values[draw.members :]


def model_weights(models: int, resamples: int, generator: np.random.Generator) -> Floats:
    """Weights of r >= 2 retrained models: equal ones, then b times r - 1 models drawn with replacement.

    The full variance of their mean comes from r - 1 of r (Rao and Wu 1988).

    Returns:
        Float[1 + b, r]; each row sums to 1.
    """
    drawn = generator.multinomial(models - 1, np.full(models, 1 / models), size=resamples) / (
        models - 1
    )
    return np.concatenate([np.full((1, models), 1 / models), drawn])


def _differences(
    draw: ForgetDraw, *, inside: Floats, outside: Floats, models: Floats
) -> dict[str, Floats]:
    """Each number under every resample, Float[1 + b]."""
    unlearned, original, *retrained = (
        separation(*_sides(draw, signal), inside=inside, outside=outside)
        for signal in (draw.unlearned, draw.original, *draw.retrained)
    )
    reference = (models * np.stack(retrained, axis=1)).sum(1)
    found = {
        "unlearned": unlearned - reference,
        "original": original - reference,
        "S": unlearned,
        "S retrained": reference,
    }
    if draw.correct is not None:
        own, *others = (weighted_mean(correct[: draw.members], inside) for correct in draw.correct)
        found["performance"] = own - (models * np.stack(others, axis=1)).sum(1)
    return found


def _estimate(values: Floats, level: float) -> DeltaEstimate:
    resampled = values[1:][~np.isnan(values[1:])]
    if len(resampled) < (1 - UNDEFINED_ALLOWED) * (len(values) - 1):
        raise EvaluationError(
            Fault("too many resamples hold no never-seen patient", do="Use more of them.")
        )
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    above, below = (
        (1 + side.sum()) / (1 + len(resampled)) for side in (resampled <= 0, resampled >= 0)
    )
    return DeltaEstimate(float(values[0]), float(low), float(high), float(above), float(below))
