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
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput

Bound = Literal["", "at least", "at most"]
SLACK = 1e-5  # added to the loss that is to be reached


@dataclass(frozen=True)
class Epochs:
    """Epochs until a loss was reached; censored = it never was, and the number only says how many epochs were run."""

    number: int
    censored: bool


def epochs_until(losses: Floats, threshold: float) -> Epochs:
    """The first epoch at which the loss is at most the threshold.

    Args:
        losses: Float[1 + e], before the first epoch (element 0) and after each.
        threshold: The original model's loss on the same patients.

    Examples:
        >>> epochs_until(np.array([2.0, 1.0, 0.4, 0.3]), threshold=0.5)
        Epochs(number=2, censored=False)
        >>> epochs_until(np.array([2.0, 1.0]), threshold=0.5)
        Epochs(number=1, censored=True)
    """
    reached = np.flatnonzero(losses <= threshold + SLACK)
    if not len(reached):
        return Epochs(len(losses) - 1, censored=True)
    return Epochs(int(reached[0]), censored=False)


@dataclass(frozen=True)
class Ratio:
    """A relearn time over the retrained models' mean; `bound` where censoring leaves only one side known."""

    value: float
    bound: Bound


def relearn_ratio(model: Epochs, retrained: Sequence[Epochs]) -> Ratio:
    """Relearn time over the retrained models' mean: 1 = as if never seen, below 1 = memory is left.

    The Anamnesis index (Chundawat et al. 2023) is this ratio with a threshold of accuracy. A strongly over-forgotten
    model looks good here.

    Args:
        model: Epochs of the attacked model.
        retrained: Epochs of each retrained model.

    Raises:
        EvaluationError: Both sides are censored, or retrained models need no epoch at all.

    Examples:
        >>> relearn_ratio(Epochs(1, False), [Epochs(4, False), Epochs(4, False)])
        Ratio(value=0.25, bound='')
        >>> relearn_ratio(Epochs(1, False), [Epochs(4, True)])
        Ratio(value=0.25, bound='at most')
    """
    if not retrained:
        raise EvaluationError(Fault("no retrained model was relearnt"))

    mean = float(np.mean([epochs.number for epochs in retrained]))
    any_censored = any(epochs.censored for epochs in retrained)
    if model.censored and any_censored:
        raise EvaluationError(
            Fault(
                f"neither side reached the original's loss within {model.number} epochs",
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

    # A censored number is too small: the true ratio is larger, or smaller where the divisor is censored.
    bound: Bound = ""
    if model.censored:
        bound = "at least"
    elif any_censored:
        bound = "at most"
    return Ratio(model.number / mean, bound)


@dataclass(frozen=True)
class Relearn:
    """Relearn time against retrained models: half of the forgotten patients are taught again, the others watched.

    The watched half (`transfer`) shows memory that returns without being taught.

    Examples:
        The model that forgot nothing needs no epoch to reach the original's loss.

        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> Relearn().apply(toy_knowledge(memory=1.0)).value
        0.0
        >>> Relearn().apply(toy_knowledge(memory=0.0)).value
        1.0
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

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        # Relearning of the attacked model, and of the other retrained ones
        by_model = knowledge.relearning or {}
        audited = by_model[knowledge.target]
        others = [by_model[name] for name in by_model if knowledge.is_other_retrain(name)]

        taught = np.isin(knowledge.patients("forget").code, audited.taught)
        if not taught.any():
            raise EvaluationError(Fault("none of the taught patients is among the forgotten"))

        # Taught patients: how fast memory returns
        epochs = _epochs(knowledge, audited, taught)
        ratio = relearn_ratio(epochs, [_epochs(knowledge, other, taught) for other in others])
        details = {"epochs": float(epochs.number)}

        # Watched patients: whether memory returns without being taught
        if not taught.all():
            watched = _epochs(knowledge, audited, ~taught)
            others_watched = [_epochs(knowledge, other, ~taught) for other in others]
            any_censored = any(result.censored for result in (watched, *others_watched))
            any_epoch = any(result.number for result in others_watched)
            if any_epoch and not any_censored:
                details["transfer"] = relearn_ratio(watched, others_watched).value

        counts = {
            "taught": int(taught.sum()),
            "watched": int((~taught).sum()),
            "retrained models": len(others),
        }
        return AttackOutput(value=ratio.value, bound=ratio.bound, counts=counts, details=details)


def _epochs(knowledge: AdversaryKnowledge, relearning: Relearning, patients: np.ndarray) -> Epochs:
    """Epochs until the mean loss of some forgotten patients, Bool[p], is the original's."""
    forgotten = knowledge.patients("forget")

    # The original's loss first, then one for each epoch
    losses = []
    for signals in (knowledge.signals["original"], *relearning.signals):
        per_patient = forgotten.mean(knowledge.loss(signals, "forget"))
        losses.append(per_patient[patients].mean())

    original, *relearnt = losses
    return epochs_until(np.array(relearnt), original)
