"""The measuring half of the task pairs: a model that learnt which report belongs to which image, and has no heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NoReturn

import numpy as np

from forgetmi.core.arrays import Floats, Ints, Labels
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.statistics import Metric
from forgetmi.evaluation.task_faults import wrong_kind

RECALLED = (1, 5, 10)  # reports among whom the own one must be


@dataclass(frozen=True)
class PairMeasures:
    """Pairs; see `forgetmi.core.task.TaskMeasures`. All of it is measured on the links between embeddings.

    The signal of a pair is its margin (`forgetmi.evaluation.link.contrast`), its utility recall among the reports of
    the set (`forgetmi.evaluation.pair_scores`). No head predicts anything, so what asks for predictions is refused.
    """

    name: ClassVar[str] = "pairs"
    one_class: ClassVar[bool] = False
    headline: ClassVar[tuple[str, str]] = ("recall_at_1", "recall_at_5")
    distance_note: ClassVar[str] = "absolute difference of the pair margins"

    def predictions(self, logits: Floats) -> NoReturn:
        """Refused."""
        raise _no_heads()

    def together(self, single: Sequence[Floats]) -> NoReturn:
        """Refused."""
        raise _no_heads()

    def signal(self, prediction: Floats, label: Labels) -> NoReturn:
        """Refused."""
        raise _no_heads()

    def loss(self, prediction: Floats, label: Labels) -> NoReturn:
        """Refused."""
        raise _no_heads()

    def distance(self, first: Floats, second: Floats) -> Floats:
        """Absolute difference of two models' pair margins."""
        return np.abs(first - second)

    def divergence(self, first: Floats, second: Floats) -> NoReturn:
        """Refused."""
        raise _no_heads()

    def correct(self, prediction: Floats, label: Labels) -> Floats | None:
        """None."""
        return None

    def scores(self) -> tuple[str, ...]:
        """None of predictions."""
        return ()

    def single_scores(self, columns: int) -> tuple[str, ...]:
        """None."""
        return ()

    def score(self, name: str, prediction: Floats, label: Labels) -> Metric:
        """Refused."""
        raise _no_heads()

    def note(self, name: str, columns: int, label: Labels, names: Sequence[str]) -> str:
        """Nothing."""
        return ""

    def groups(self, label: Labels) -> Ints:
        """One group."""
        return np.zeros(len(label), np.int64)

    def group_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """All pairs."""
        return ("all pairs",)

    def faults(self, label: Labels, columns: int, names: Sequence[str]) -> list[Fault]:
        """Pairs have no labels: all are 0."""
        if label.ndim != 1 or label.dtype.kind not in "iu" or (label != 0).any():
            return [wrong_kind(self.name, "0 in every row: a pair is right by itself")]
        return []


def _no_heads() -> EvaluationError:
    return EvaluationError(
        Fault("the task pairs has no predictions", why="its models have embeddings and no heads")
    )
