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

    Examples:
        >>> stack = np.array([[0.0, 10.0], [2.0, 14.0]])
        >>> centre, spread = fit(stack, np.ones((2, 2), bool), common=False)
        >>> centre, spread.round(3)
        (array([ 1., 12.]), array([1.414, 2.828]))
    """
    count = chosen.sum(0)
    if not len(count) or count.min() < 2:
        raise EvaluationError(
            Fault(
                "some patients have fewer than two models to fit a distribution on",
                do="Train more shadow models.",
            )
        )

    # The chosen models' signals; NaN where a model does not count for a record
    trailing = (...,) + (None,) * (stack.ndim - 2)
    values = np.where(chosen[trailing], stack, np.nan)
    centre, mean = np.nanmedian(values, axis=0), np.nanmean(values, axis=0)
    squares = np.nansum((values - mean) ** 2, axis=0)

    # With few models one spread, shared by all records, is the better estimate.
    if common is None:
        common = bool(count.min() < PER_RECORD)
    if common:
        shared = np.sqrt(squares.sum(0) / (count - 1).sum())
        spread = np.broadcast_to(shared, centre.shape)
    else:
        spread = np.sqrt(squares / (count - 1)[trailing])

    if not (spread > 0).all():
        raise EvaluationError(
            Fault("the signal does not scatter between models", why="there is no scale to judge by")
        )
    return centre, spread


def log_density(value: Floats, centre: Floats, spread: Floats) -> Floats:
    """Logarithm of the normal density, without underflow.

    Examples:
        >>> log_density(np.array([0.0, 2.0]), np.zeros(2), np.ones(2)).round(3)
        array([-0.919, -2.919])
    """
    return -0.5 * ((value - centre) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2 * np.pi)


def augmentation_mean(scores: Floats) -> Floats:
    """Float[p, ...] to Float[p]: augmentations are treated as independent, as LiRA does."""
    return scores.reshape(len(scores), -1).mean(1)
