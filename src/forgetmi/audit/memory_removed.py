"""How much of what the original remembered of the forgotten patients is gone: a percentage that anybody can read.

It stands beside the verdict and is no part of the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from forgetmi.audit.forget_draw import ForgetDraw
from forgetmi.core.arrays import Floats
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.channels import Channel
from forgetmi.evaluation.statistics import PatientSample, resample_patients, weighted_mean
from forgetmi.evaluation.statistics import draws as resampled

NO_MEMORY = "the original shows no memory of these patients here"
TOO_FEW = "it takes two patients a side and a retrained model"


@dataclass(frozen=True)
class MemoryRemoved:
    """One channel.

    Args:
        channel: Which.
        share: Of the original's memory that is gone: 0 = none, 1 = all, as in retrained models; above 1 = less familiar
            than under retraining. None = not resolvable.
        interval: Over patients; None where there is no share.
        forgotten, never_seen: Patients it rests on, the latter distinct over all draws.
        retrained: The share of each retrained model, left out of the reference in turn: what "all" looks like.
        reason: Why there is no share; "" where there is one.
    """

    channel: Channel
    share: float | None
    interval: tuple[float, float] | None
    forgotten: int
    never_seen: int
    retrained: tuple[float, ...] = ()
    reason: str = ""


def memory_removed(
    draws: Mapping[Channel, Sequence[ForgetDraw]], *, level: float, resamples: int, seed: int
) -> tuple[MemoryRemoved, ...]:
    """The share of the original's memory that is gone, channel by channel, all forget draws pooled.

    A patient's d = signal under a model less its mean under the retrained models. D(model) = mean d of the forgotten
    less mean d of the never-seen patients; the share is 1 - D(unlearned) / D(original). Resamples take the same
    patients for both models. Where the interval of D(original) reaches 0 there was no memory to remove, and no share.

    Args:
        draws: Channel to one or more forget draws; a channel without is left out.
        level: Coverage of the intervals, in (0, 1).
        resamples: >= 1.
        seed: Root seed.

    Returns:
        One a channel, in the order given.

    Examples:
        >>> from forgetmi.audit.forget_draw import forget_draw
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> for memory in (0.0, 1.0):
        ...     draws = {"image": [forget_draw(toy_knowledge(memory))]}
        ...     (image,) = memory_removed(draws, level=0.95, resamples=200, seed=0)
        ...     print(round(image.share, 1), image.forgotten)
        1.0 12
        0.0 12
    """
    found = []
    for channel, of_channel in draws.items():
        if of_channel:
            found.append(_of_channel(channel, of_channel, level, resamples, seed))
    return tuple(found)


def _of_channel(
    channel: Channel, draws: Sequence[ForgetDraw], level: float, resamples: int, seed: int
) -> MemoryRemoved:
    codes = np.unique(np.concatenate([draw.patient[draw.members :] for draw in draws]))
    forgotten = sum(draw.members for draw in draws)
    none = MemoryRemoved(channel, None, None, forgotten, len(codes), reason=TOO_FEW)

    # What a mean over patients and models needs
    fewest = min(min(draw.members, len(draw.patient) - draw.members) for draw in draws)
    models = min(len(draw.retrained) for draw in draws)
    if fewest < 2 or models < 1:
        return none

    # Row 0 of the weights is the data as they are
    weights = [_weights(draw, index, codes, resamples, seed) for index, draw in enumerate(draws)]
    unlearned = _pooled(draws, weights, [draw.unlearned for draw in draws])
    original = _pooled(draws, weights, [draw.original for draw in draws])

    tails = [(1 - level) / 2, (1 + level) / 2]
    if original[0] <= 0 or np.quantile(original[1:], tails[0]) <= 0:
        return replace(none, reason=NO_MEMORY)

    # A resample without memory in the original has no share
    remembering = original[1:] > 0
    shares = 1 - unlearned[1:][remembering] / original[1:][remembering]
    low, high = np.quantile(shares, tails)

    return MemoryRemoved(
        channel=channel,
        share=float(1 - unlearned[0] / original[0]),
        interval=(float(low), float(high)),
        forgotten=forgotten,
        never_seen=len(codes),
        retrained=_left_out(draws, weights, models),
    )


# The forgotten and the never-seen patients, resampled
_Weights = tuple[PatientSample, PatientSample]


def _weights(
    draw: ForgetDraw, index: int, codes: np.ndarray, resamples: int, seed: int
) -> _Weights:
    # Forgotten patients draw by draw, never-seen ones alike in all draws
    inside = resample_patients(
        draw.patient[: draw.members],
        resamples=resamples,
        generator=numpy_generator(seed, "memory removed", "forgotten", index),
    )
    outside = resample_patients(
        codes,
        resamples=resamples,
        generator=numpy_generator(seed, "memory removed", "never seen"),
    )

    column = np.searchsorted(codes, draw.patient[draw.members :])
    return inside, PatientSample(column, outside.multiplicity)


def _pooled(
    draws: Sequence[ForgetDraw], weights: Sequence[_Weights], signals: Sequence[Floats]
) -> Floats:
    """D of one model under every resample, Float[1 + b]; draws count by their patients."""
    total = sum(draw.members for draw in draws)
    pooled = np.zeros(len(weights[0][0].multiplicity))

    for draw, (inside, outside), signal in zip(draws, weights, signals, strict=True):
        d = signal - draw.retrained.mean(0)
        of_forgotten = resampled(inside, partial(weighted_mean, d[: draw.members]))
        of_never_seen = resampled(outside, partial(weighted_mean, d[draw.members :]))
        pooled += (of_forgotten - of_never_seen) * draw.members / total
    return pooled


def _left_out(
    draws: Sequence[ForgetDraw], weights: Sequence[_Weights], models: int
) -> tuple[float, ...]:
    """The share of each retrained model against the others; of none where there is a single one."""
    if models < 2:
        return ()

    # The data as they are
    once = [
        (inside.without_resamples(), outside.without_resamples()) for inside, outside in weights
    ]

    shares = []
    for model in range(models):
        others = [
            replace(draw, retrained=np.delete(draw.retrained, model, axis=0)) for draw in draws
        ]
        left_out = _pooled(others, once, [draw.retrained[model] for draw in draws])[0]
        original = _pooled(others, once, [draw.original for draw in draws])[0]
        if original > 0:
            shares.append(float(1 - left_out / original))
    return tuple(shares)
