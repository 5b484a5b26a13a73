"""What a request costs by one method: a + b rho of a cohort of n images, fitted on measured runs by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import Fault, SpecError

# Of the interval of an estimate
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """What one request is expected to cost.

    Args:
        seconds: Expected CPU seconds.
        low, high: Within which a single such run lies in 95 of 100 cases, if the line holds.
    """

    seconds: float
    low: float
    high: float

    def times(self, factor: float) -> Estimate:
        """On another machine or with another model, where everything takes that many times as long."""
        return Estimate(self.seconds * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, eq=False)
class CostLine:
    """CPU seconds of one method: ``c + a n + b f`` for n images that a model was trained on, f of them forgotten.

    With rho = f / n that is n (c / n + a + b rho): for one cohort a straight line in the share forgotten. Terms that
    did not vary among the runs are left out, and so is c or a where it came out below 0: no work takes less than
    nothing.

    Args:
        coefficients: Float[3], c, a and b; 0 where left out.
        covariance: Float[3, 3] of the three.
        spread: Standard deviation of a single run about the line, as a share of the line.
        freedom: Runs beyond the terms.
        images: Fewest and most images of the runs.
        share: Smallest and largest share forgotten.
    """

    coefficients: Floats
    covariance: Floats
    spread: float
    freedom: int
    images: tuple[int, int]
    share: tuple[float, float]

    def outside(self, images: int, forgotten: int) -> str:
        """Why the line says nothing of a request, in words; "" = it was measured for such ones."""
        reasons = []
        if not self.images[0] <= images <= self.images[1]:
            reasons.append(f"{images} images, measured from {self.images[0]} to {self.images[1]}")
        low, high = self.share
        share = forgotten / images
        if low < high and not low <= share <= high:
            reasons.append(f"{share:.2%} forgotten, measured from {low:.2%} to {high:.2%}")
        return "; ".join(reasons)

    def estimate(self, images: int, forgotten: int) -> Estimate:
        """What a request costs; outside of what was measured it is an extrapolation, see `outside`.

        Args:
            images: n.
            forgotten: f.
        """
        # The ledger's commands start without scipy
        from scipy.special import stdtrit

        terms = np.array([1.0, images, forgotten])
        seconds = float(terms @ self.coefficients)

        # The line is not known exactly, and single runs scatter about it
        variance = float(terms @ self.covariance @ terms) + (self.spread * seconds) ** 2
        half = float(stdtrit(self.freedom, (1 + CONFIDENCE) / 2)) * variance**0.5
        return Estimate(seconds, max(0.0, seconds - half), seconds + half)


def fit_line(
    images: Sequence[int], forgotten: Sequence[int], seconds: Sequence[float], *, name: str
) -> CostLine:
    """The line through measured runs: least squares of relative deviations, since seconds scatter in proportion.

    Args:
        images, forgotten: n and f of each run.
        seconds: CPU seconds of each, > 0.
        name: Of the method, for messages.

    Raises:
        SpecError: There are no more runs than terms.

    Examples:
        >>> line = fit_line([100, 100, 200, 200], [1, 10, 2, 20], [21.0, 30.0, 32.0, 50.0], name="ours")
        >>> line.coefficients.round(6).tolist()
        [10.0, 0.1, 1.0]
    """
    columns = np.array([np.ones(len(images)), images, forgotten], float).T
    measured = np.array(seconds, float)

    # What did not vary cannot be told from the constant
    varies = np.array([True, len(set(images)) > 1, len(set(forgotten)) > 1])
    if len(measured) <= varies.sum():
        raise SpecError(
            Fault(
                f"too few runs of {name} to fit its cost",
                why=f"there are {len(measured)}, and {int(varies.sum()) + 1} are needed",
                do="Measure more requests.",
            )
        )

    relative = columns / measured[:, None]
    if np.linalg.matrix_rank(relative[:, varies]) < varies.sum():
        raise SpecError(
            Fault(
                f"the runs of {name} do not tell what its cost depends on",
                why="images and forgotten images grow in one proportion in all of them",
                do="Measure requests of several sizes on cohorts of several sizes.",
            )
        )

    # Neither the fixed part nor that of each image is negative: the lowest is left out, and the rest fitted again
    coefficients = _least_squares(relative, varies)
    while coefficients[:2].min() < 0:
        varies[int(coefficients[:2].argmin())] = False
        coefficients = _least_squares(relative, varies)

    # Of the coefficients that were fitted; the others are 0 for certain
    freedom = len(measured) - int(varies.sum())
    residual = relative @ coefficients - 1
    spread = float(np.sqrt(residual @ residual / freedom))
    used, covariance = relative[:, varies], np.zeros((3, 3))
    covariance[np.ix_(varies, varies)] = spread**2 * np.linalg.inv(used.T @ used)

    shares = np.array(forgotten) / np.array(images)
    return CostLine(
        coefficients,
        covariance,
        spread,
        freedom,
        (int(min(images)), int(max(images))),
        (float(shares.min()), float(shares.max())),
    )


def _least_squares(relative: Floats, used: np.ndarray) -> Floats:
    """Float[3], the coefficients of the terms that are used; 0 of the others."""
    coefficients = np.zeros(3)
    ones = np.ones(len(relative))
    coefficients[used] = np.linalg.lstsq(relative[:, used], ones, rcond=None)[0]
    return coefficients
