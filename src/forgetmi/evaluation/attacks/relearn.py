"""Relearn time (Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020): what is hidden but not gone is
learnt again faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Relearning
from forgetmi.evaluation.attacks.base import AttackInfo, Found

SLACK = 1e-5


@dataclass(frozen=True)
class Epochs:
    """Epochs until a loss was reached; censored = it never was, and the number only says how long was waited."""

    number: int
    censored: bool


def epochs_until(losses: Floats, threshold: float) -> Epochs:
    """The first epoch at which the loss is at most the threshold.

    Args:
        losses: Float[1 + e], before the first epoch (element 0) and after each.
        threshold: The original model's loss on the same patients.
    """
    reached = np.flatnonzero(losses <= threshold + SLACK)
    return Epochs(int(reached[0]), False) if len(reached) else Epochs(len(losses) - 1, True)


@dataclass(frozen=True)
class Ratio:
    """A relearn time over the retrained models' mean; `bound` where censoring leaves only one side known."""

    value: float
    bound: Literal["", "at least", "at most"]


def relearn_ratio(own: Epochs, retrained: Sequence[Epochs]) -> Ratio:
    """Relearn time over the retrained models' mean: 1 = as if never seen, below 1 = memory is left.

    The Anamnesis index (Chundawat et al. 2023) is this ratio with a threshold of accuracy. A strongly over-forgotten
    model looks good here.

    Raises:
        EvaluationError: Both sides are censored, or retrained models need no epoch at all.
    """
    if not retrained:
        raise EvaluationError(Fault("no retrained model was relearnt"))
    mean, waiting = (
        float(np.mean([one.number for one in retrained])),
        any(one.censored for one in retrained),
    )
    if own.censored and waiting:
        raise EvaluationError(
            Fault(
                f"neither side reached the original's loss within {own.number} epochs",
                do="Relearn for longer, or with a higher learning rate.",
            )
        )
    if mean == 0:
        raise EvaluationError(
            Fault(
                "retrained models reach the original's loss without relearning",
                why="the original shows no memory to relearn",
            )
        )
    return Ratio(own.number / mean, "at least" if own.censored else "at most" if waiting else "")


@dataclass(frozen=True)
class Relearn:
    """Relearn time against retrained models: half of the forgotten patients are taught again, the others watched.

    The watched half (`transfer`) shows memory that returns without being taught.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="relearn",
        title="Relearn time",
        source="Golatkar et al., CVPR 2020",
        measures="epochs to the original's loss, over retrained models'",
        direction="lower",
        reference="retrained",
        forgotten=1.0,
        needs=frozenset({"original", "retrained", "relearning"}),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> Found:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        relearning = knowledge.relearning or {}
        own = relearning[knowledge.target]
        patients = knowledge.patients("forget")
        taught = np.isin(patients.code, own.taught)
        if not taught.any():
            raise EvaluationError(Fault("none of the taught patients is among the forgotten"))

        def epochs(found: Relearning, watched: np.ndarray) -> Epochs:
            losses = [
                patients.mean(knowledge.loss(one, "forget"))[watched].mean()
                for one in (knowledge.signals["original"], *found.signals)
            ]
            return epochs_until(np.array(losses[1:]), losses[0])

        others = [found for name, found in relearning.items() if knowledge.is_other_retrain(name)]
        ratio = relearn_ratio(epochs(own, taught), [epochs(found, taught) for found in others])
        details = {"epochs": float(epochs(own, taught).number)}
        if not taught.all():
            watched = [epochs(found, ~taught) for found in (own, *others)]
            if not any(one.censored for one in watched) and any(one.number for one in watched[1:]):
                details["transfer"] = relearn_ratio(watched[0], watched[1:]).value
        counts = {
            "taught": int(taught.sum()),
            "watched": int((~taught).sum()),
            "retrained models": len(others),
        }
        return Found(value=ratio.value, bound=ratio.bound, counts=counts, details=details)
