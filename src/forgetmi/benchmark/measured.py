"""One model of a benchmark with its scores, and each number of it that a table shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.audit.rule import Rule
from forgetmi.benchmark.store import Outcome
from forgetmi.core.cost import busy_seconds
from forgetmi.core.model_names import is_retrained
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.evaluation.gaps import FLOOR, GAP, GAP_JOINT, main_head, stayed
from forgetmi.evaluation.signals import is_together

# The values that a number can have
POSITIVE = (0.0, float("inf"))
SHARE = (0.0, 1.0)
CORRELATION = (-1.0, 1.0)

# Those of scores that are no share
WITHIN = {
    "loss_spearman": CORRELATION,
    "rank_correlation": CORRELATION,
    "r2": (float("-inf"), 1.0),
    "mae": POSITIVE,
    "jsf": POSITIVE,
    **{name + part: POSITIVE for name in (GAP, GAP_JOINT) for part in ("", "_forget", "_test")},
}


@dataclass(frozen=True)
class Number:
    """One measured number with its interval over patients, and the values it can have."""

    value: float
    interval: tuple[float, float] | None = None
    within: tuple[float, float] = SHARE


Found = Number | Failed
Read = Callable[["Measured"], Found]


@dataclass(frozen=True, eq=False)
class Measured:
    """One model with the scores of the group it was measured in.

    Args:
        row: "original", "retrain", or a setting's name.
        percent, draw, seed, number: Forget set, training seed, unlearning seed.
        model: Its name among the scores.
        outcome: What became of it (for the retrained models, of the first that could not be had, if any); None = not
            made yet.
        evaluation: Scores; None = not measured.
        retraining: Seconds of one retraining of this point; None = none was done.
        cheapest: Seconds of the cheapest exact retraining of this point that is about as good as the original, see
            `forgetmi.benchmark.yardstick`; None = no short one was measured.
        device: On which the models were made; of a device that computes, seconds on the clock are meant.
    """

    row: str
    percent: float
    draw: int
    seed: int
    number: int
    model: str
    outcome: Outcome | None
    evaluation: Evaluation | None
    retraining: float | None
    cheapest: float | None = None
    device: str = "cpu"

    @property
    def head(self) -> str:
        """The head that headline numbers are of."""
        return main_head(self.evaluation or Evaluation({}))

    def score(self, name: str, head: str, on: str) -> Found:
        """One score; of the retrained models their mean."""
        failed = self._missing()
        if failed is not None:
            return failed

        # The row of the retrained models is of all of them.
        models = [self.model]
        if self.row == FLOOR:
            models = [model for model in self._evaluation().scores if is_retrained(model)]
        if not models:
            return Failed(name, "no model was retrained", head, on)

        # Every model that the row is of
        within = WITHIN.get(name, SHARE)
        numbers = []
        for model in models:
            score = self._get(model, name, head, on)
            if isinstance(score, Failed):
                return score
            numbers.append(Number(score.value, score.interval, within))
        return mean(numbers)

    def floor(self, head: str, part: str = "") -> Found:
        """The retrained models' own gap, or a part of it: "_forget" or "_test"."""
        # The floor is a score of the retrained models, stored once
        name = f"{GAP_JOINT if is_together(head) else GAP}{part}_floor"
        score = self._missing() or self._get(FLOOR, name, head, "")
        if isinstance(score, Score):
            return Number(score.value, score.interval, within=POSITIVE)
        return score

    def stayed(self) -> Found:
        """1 where the model ended where the original was, else 0; see `forgetmi.evaluation.gaps.stayed`."""
        failed = self._missing()
        if failed is not None:
            return failed
        return Number(float(stayed(self._evaluation(), self.model)))

    def over_forgot(self) -> Found:
        """1 where accuracy on forgotten images is below the retrained models' by the verdict's margin, else 0."""
        # Accuracy is compared with its mean over the retrained models
        accuracy = self._missing() or self._get(self.model, "accuracy", self.head, "forget")
        if isinstance(accuracy, Failed):
            return accuracy
        if accuracy.reference is None:
            return Failed("accuracy", "no model was retrained")
        return Number(float(accuracy.value <= accuracy.reference - Rule().forget_margin))

    def seconds(self) -> Found:
        """What it kept busy; of the retrained models those of one."""
        failed = self._missing()
        if failed is not None:
            return failed

        # The reference costs one retraining, a method what it took
        seconds = self.retraining
        if self.row != FLOOR:
            seconds = self._busy()
        if seconds is None:
            return Failed("seconds", "not run yet")
        return Number(seconds, within=POSITIVE)

    def share(self) -> Found:
        """Its seconds as a share of one retraining's."""
        if self.row == FLOOR:
            return Number(1.0, within=POSITIVE)

        failed = self._missing()
        if failed is not None:
            return failed
        seconds = self._busy()
        if seconds is None or not self.retraining:
            return Failed("share", "nothing was retrained")
        return Number(seconds / self.retraining, within=POSITIVE)

    def share_of_cheapest(self) -> Found:
        """Its seconds as a share of those of the cheapest exact retraining; never guessed."""
        seconds = self.seconds()
        if isinstance(seconds, Failed):
            return seconds
        if not self.cheapest:
            return Failed("share of the cheapest exact retraining", "no short_retrain")
        return Number(seconds.value / self.cheapest, within=POSITIVE)

    def _busy(self) -> float | None:
        """Seconds of the model itself; None = it was not made."""
        return None if self.outcome is None else busy_seconds(self.outcome.cost, self.device)

    def _missing(self) -> Failed | None:
        """Why nothing was measured; None = something was."""
        if self.outcome is None:
            return Failed(self.row, "not run yet")
        if self.outcome.reason:
            return Failed(self.row, "failed")
        return None if self.evaluation is not None else Failed(self.row, "not measured yet")

    def _evaluation(self) -> Evaluation:
        assert self.evaluation is not None
        return self.evaluation

    def _get(self, model: str, name: str, head: str, on: str) -> Score | Failed:
        try:
            return self._evaluation().get(model, name, head=head, on=on)
        except KeyError:
            return Failed(name, "not part of this evaluation", head, on)


def mean(numbers: Sequence[Number]) -> Number:
    """The mean, and the mean of the intervals' ends where all have one.

    Args:
        numbers: Numbers of one kind, at least one.
    """
    # Means over draws and seeds
    value = float(np.mean([number.value for number in numbers]))

    # One without an interval leaves the mean without
    intervals = [number.interval for number in numbers if number.interval is not None]
    interval = None
    if len(intervals) == len(numbers):
        low, high = np.mean(intervals, axis=0)
        interval = float(low), float(high)
    return Number(value, interval, numbers[0].within)
