"""Normal distributions of a record's signal over many models, for every record at once."""

from __future__ import annotations

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault

PER_RECORD = 64  # models from which on a record's own variance is better than the common one


def fit(stack: Floats, chosen: np.ndarray, *, common: bool | None = None) -> tuple[Floats, Floats]:
    """Centre and spread of each record's signal over the chosen models.

    Args:
        stack: Float[m, p, ...], m models, p records; further axes are augmentations.
        chosen: Bool[m, p], which models count for which record.
        common: Whether all records share one spread (the root mean square of deviations from each record's own mean);
            None = shared where some record has fewer than 64 models.

    Returns:
        The medians and the standard deviations, Float[p, ...] each, the latter positive.

    Raises:
        EvaluationError: A record has fewer than two models, or nothing scatters.
    """
    count = chosen.sum(0)
    if not len(count) or count.min() < 2:
        raise EvaluationError(
            Fault(
                "some patients have fewer than two models to fit a distribution on",
                do="Train more shadow models.",
            )
        )
    trailing = (...,) + (None,) * (stack.ndim - 2)
    values = np.where(chosen[trailing], stack, np.nan)
    centre, mean = np.nanmedian(values, axis=0), np.nanmean(values, axis=0)
    squares = np.nansum((values - mean) ** 2, axis=0)
    if common if common is not None else count.min() < PER_RECORD:
        spread = np.broadcast_to(np.sqrt(squares.sum(0) / (count - 1).sum()), centre.shape)
    else:
        spread = np.sqrt(squares / (count - 1)[trailing])
    if not (spread > 0).all():
        raise EvaluationError(
            Fault("the signal does not scatter between models", why="there is no scale to judge by")
        )
    return centre, spread


def log_density(value: Floats, centre: Floats, spread: Floats) -> Floats:
    """Logarithm of the normal density, without underflow."""
    return -0.5 * ((value - centre) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2 * np.pi)


def augmentation_mean(scores: Floats) -> Floats:
    """Float[p, ...] to Float[p]: augmentations are treated as independent, as LiRA does."""
    return scores.reshape(len(scores), -1).mean(1)
