"""What Gaussian noise in a training proves about where it began: closed forms, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Certificate:
    """Noise that hides whether a training began at one of two models, and what it proves.

    Two trainings that begin within a ball of radius ``c0`` are at most 2 c0 apart, and each step moves them apart by at
    most 2 c1 lr more. Spread evenly over the steps, that shift is hidden by the noise of each of them.

    Args:
        dimension: Number of weights.
        c0: Norm to which the weights are clipped before the first step, > 0.
        c1: Norm to which each gradient is clipped, > 0.
        lr: Learning rate, > 0.
        epsilon: Rate of the Rényi divergence, > 0: of order q it is at most 2 q epsilon.
    """

    dimension: int
    c0: float
    c1: float
    lr: float
    epsilon: float

    @property
    def steps(self) -> int:
        """T = ceil(c0 / (c1 lr)): as many as could bring the weights from the ball's edge to its centre."""
        # A quotient that is whole but for rounding is that number
        return math.ceil(self.c0 / (self.c1 * self.lr) - 1e-9)

    @property
    def shift(self) -> float:
        """How far apart two trainings can be at the end without noise."""
        return 2 * self.c0 + 2 * self.c1 * self.lr * self.steps

    @property
    def variance(self) -> float:
        """s^2 of the noise added to each weight at each step."""
        return self.shift**2 / (4 * self.epsilon * self.steps)

    @property
    def noise_norm(self) -> float:
        """Root of the expected squared norm of all noise; 2 c0 sqrt(d / epsilon) where c0 / (c1 lr) is whole."""
        return math.sqrt(self.dimension * self.steps * self.variance)

    @property
    def mu(self) -> float:
        """As good as telling two normal distributions of variance 1 apart whose means differ by this much."""
        return self.shift / math.sqrt(self.steps * self.variance)


def epsilon_at(mu: float, delta: float) -> float:
    """The epsilon of the (epsilon, delta) certificate of Gaussian noise.

    Args:
        mu: Difference of the means in standard deviations, >= 0.
        delta: Above 0, below 1.

    Source: Dong et al. 2019 (arXiv 1905.02383), corollary 1.

    Examples:
        >>> round(epsilon_at(2.0, 1e-5), 1)
        10.0
    """
    if delta_at(mu, 0.0) <= delta:
        return 0.0

    # Delta falls as epsilon rises
    low, high = 0.0, 1.0
    while delta_at(mu, high) > delta:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_at(mu, middle) > delta else (low, middle)
    return high


def delta_at(mu: float, epsilon: float) -> float:
    """The delta that belongs to an epsilon; see `epsilon_at`."""
    if mu == 0:
        return 0.0
    upper = _below(-epsilon / mu + mu / 2)

    # The factor is large where the probability is tiny
    tail = _below(-epsilon / mu - mu / 2)
    return upper - math.exp(epsilon + math.log(tail)) if tail > 0 else upper


def _below(value: float) -> float:
    """The normal distribution's probability below a value."""
    return 0.5 * math.erfc(-value / math.sqrt(2))
