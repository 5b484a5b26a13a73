"""Area under relearning: how much loss is left while forgotten patients are taught again, over all epochs at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Relearning
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.attacks.compare import RESAMPLES
from forgetmi.evaluation.statistics import draws, interval, ratio, resample_patients


def excess_area(losses: Floats, threshold: Floats | float) -> Floats:
    """Area between a relearning curve and the original's loss, by the trapezoidal rule; below it nothing is taken off.

    Args:
        losses: Float[..., 1 + e], before the first epoch and after each.
        threshold: Float[...], the original's loss on the same patients.

    Returns:
        Float[...], in nats times epochs; 0 = as familiar as to the original all the time.

    Examples:
        >>> float(excess_area(np.array([2.0, 1.0, 0.0]), 0.0)), float(excess_area(np.array([0.5, 0.2]), 1.0))
        (2.0, 0.0)
    """
    excess = np.maximum(losses - np.asarray(threshold)[..., None], 0)
    return (excess[..., :-1] + excess[..., 1:]).sum(-1) / 2


@dataclass(frozen=True)
class RelearnArea:
    """Area under relearning over the retrained models': 1 = as if never seen, 0 = as the original.

    Use it beside the relearn time (`forgetmi.evaluation.attacks.relearn`): whole epochs are coarse, and a time that was
    not reached is only a bound; the area is defined for every curve, and has an interval over patients.

    Deviation from the relearn time of Golatkar et al. (CVPR 2020): the whole curve counts, up to the epoch at which the
    run stopped teaching. An over-forgotten model is above 1.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> RelearnArea().apply(toy_knowledge(memory=1.0)).value
        0.0
        >>> low, high = RelearnArea().apply(toy_knowledge(memory=0.0)).interval
        >>> low < 1 < high
        True
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="relearn_area",
        title="Area under relearning",
        source="after Golatkar et al., CVPR 2020",
        measures="area between the relearning curve and the original's loss, over retrained models'",
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
        if not others:
            raise EvaluationError(Fault("no retrained model was relearnt"))

        patients = knowledge.patients("forget")
        taught = np.isin(patients.code, audited.taught)
        if not taught.any():
            raise EvaluationError(Fault("none of the taught patients is among the forgotten"))

        # Taught patients: how fast memory returns. The others: whether it returns without being taught
        value, bounds, note = _ratio(knowledge, audited, others, taught)
        details = {}
        if not taught.all():
            # The original may show no memory of these alone
            with suppress(EvaluationError):
                details["transfer"], _, _ = _ratio(knowledge, audited, others, ~taught)

        counts = {
            "taught": int(taught.sum()),
            "watched": int((~taught).sum()),
            "retrained models": len(others),
        }
        return AttackOutput(value, counts, interval=bounds, details=details, note=note)


def _ratio(
    knowledge: AdversaryKnowledge,
    audited: Relearning,
    others: Sequence[Relearning],
    chosen: np.ndarray,
) -> tuple[float, tuple[float, float] | None, str]:
    """The ratio of areas on some forgotten patients, Bool[p], its interval over them, and why there is none.

    Raises:
        EvaluationError: The retrained models have no area.
    """
    original = _losses(knowledge, [knowledge.signals["original"]], chosen)
    models = [_losses(knowledge, one.signals, chosen) for one in (audited, *others)]

    def areas(weights: Floats) -> Floats:
        # Mean over patients first: the area of the mean curve, as it is drawn
        share = weights / weights.sum(1, keepdims=True)
        threshold = (share @ original.T)[:, 0]
        own, *retrained = (excess_area(share @ one.T, threshold) for one in models)
        return ratio(own, np.mean(retrained, axis=0))

    sample = resample_patients(
        np.arange(int(chosen.sum())),
        resamples=RESAMPLES,
        generator=numpy_generator(knowledge.seed, "attacks", "relearn area"),
    )
    values = draws(sample, areas)
    if np.isnan(values[0]):
        raise EvaluationError(
            Fault(
                "retrained models are at the original's loss without relearning",
                why="the original shows no memory to relearn",
            )
        )
    bounds, why = interval(values, patients=sample.patients)
    return float(values[0]), bounds, why


def _losses(knowledge: AdversaryKnowledge, models: Sequence[Signals], chosen: np.ndarray) -> Floats:
    """Float[models, patients]: mean loss of the chosen forgotten patients under each model."""
    patients = knowledge.patients("forget")
    losses = [patients.mean(knowledge.loss(signals, "forget")) for signals in models]
    return np.stack(losses)[:, chosen]
