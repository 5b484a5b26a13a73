"""Models that exist for an audit alone: shadow models, repeats of the same request, and models taught again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.signals import Signals


@dataclass(frozen=True, eq=False, repr=False)
class Pool:
    """Models trained only for the audit, each on some of the patients.

    Args:
        signals: m models' signals on the forget and holdout rows.
        inside: Bool[m, c], by patient code of the partition: was trained on, and is still in.
        forgotten: Bool[m, c]: was trained on, then unlearned. All False in a pool of plain shadow models.

    Raises:
        EvaluationError: The masks do not fit the signals or each other.
    """

    signals: tuple[Signals, ...]
    inside: np.ndarray
    forgotten: np.ndarray

    def __post_init__(self) -> None:
        if self.inside.shape != self.forgotten.shape or len(self.inside) != len(self.signals):
            raise EvaluationError(Fault("signals and patient masks of the pool differ in number"))

        if (self.inside & self.forgotten).any():
            raise EvaluationError(
                Fault("a patient of the pool is both trained on and forgotten by one model")
            )


@dataclass(frozen=True, eq=False, repr=False)
class ShadowSignals:
    """Patient signals under the attacked model and a pool: the forgotten patients first, then the never-seen ones.

    Args:
        target: Float[p], under the attacked model.
        stack: Float[m, p], under the models of a pool.
        inside, forgotten: Bool[m, p], what the patient was to each of them.
        members: How many of the p are forgotten patients.
    """

    target: Floats
    stack: Floats
    inside: np.ndarray
    forgotten: np.ndarray
    members: int

    @property
    def never_trained(self) -> np.ndarray:
        """Bool[m, p]: was never in that model's training."""
        return ~(self.inside | self.forgotten)

    def split(self, scores: Floats) -> tuple[Floats, Floats]:
        """Scores of the forgotten and of the never-seen patients."""
        return scores[: self.members], scores[self.members :]


@dataclass(frozen=True, eq=False, repr=False)
class Repeats:
    """The same forget set, unlearned and retrained many times with different seeds; as many of each."""

    unlearned: tuple[Signals, ...]
    retrained: tuple[Signals, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Relearning:
    """A model fine-tuned on some forgotten patients again.

    Args:
        signals: On the forget rows, before the first epoch (element 0) and after each.
        taught: Patient codes it was fine-tuned on; the other forgotten patients were only watched.
    """

    signals: tuple[Signals, ...]
    taught: Ints
