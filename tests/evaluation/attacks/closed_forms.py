"""What attacks must give in cases that can be worked out, for many draws at once."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm


def aucs(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """AUC of each row: Float[draws, f] against Float[draws, m]."""
    difference = members[:, :, None] - others[:, None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean((1, 2))


def gaussian_auc(shift: float) -> float:
    """AUC of two normal distributions of equal spread, this many spreads apart."""
    return float(norm.cdf(shift / np.sqrt(2)))


def gaussian_tpr(shift: float, fpr: float) -> float:
    """Their true-positive rate at a false-positive rate."""
    return float(norm.cdf(shift + norm.ppf(fpr)))


def assert_exchangeable(values: np.ndarray, sides: tuple[int, int] | None = None) -> None:
    """0.5 lies within the interval of the mean over the draws, and single draws scatter as theory says."""
    assert len(values) >= 1000
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - 0.5) < 3 * error, (values.mean(), error)
    if sides is not None:
        f, m = sides
        null = np.sqrt((f + m + 1) / (12 * f * m))
        assert 0.93 < (np.abs(values - 0.5) < 1.96 * null).mean() < 0.97
