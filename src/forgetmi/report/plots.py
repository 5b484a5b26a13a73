"""An evaluation drawn in a notebook: the figures of the engineer's page, from the same functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forgetmi.audit.patient_scores import score_draw, standing_out, through
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.channels import channels_of
from forgetmi.report import patient_figure, sections, verdict_text
from forgetmi.report.patient_figure import PatientMark
from forgetmi.report.picture import SvgPicture, side_by_side

FALSE_DISCOVERY = 0.05  # share of wrongly named patients among those named
MOST_PATIENTS = 40

_LOSSES = (
    "Losses of single images on a logarithmic axis. Line: withdrawn patients; area: never-seen test patients; broken "
    "lines: medians. "
)
_TRADE_OFF = "Square: original; disc: unlearned model; diamonds and band: retrained models. Bars: 95 % intervals. "
_PATIENTS = (
    "Each row is a withdrawn patient, the area above them the never-seen patients; the band holds the middle 95 % of "
    "these. Triangles stand out after correction for the number of patients."
)


@dataclass(frozen=True, eq=False)
class EvaluationPlots:
    """Draws an evaluation from the outputs it was measured on.

    Args:
        signals: Model name to outputs: "original", "unlearned" and so on.
        partition: Who is in which set.
        task: Name of the labels' task.
        seed: Root seed of what is drawn at random.
    """

    signals: Mapping[str, Signals]
    partition: Partition
    task: str
    seed: int = 0

    def __call__(self, evaluation: Evaluation, kind: str) -> SvgPicture:
        """Draw one kind of `forgetmi.core.scores.PLOTS`.

        Raises:
            EvaluationError: What it shows was not measured.
        """
        if kind == "losses":
            return self._losses()
        if kind == "trade_off":
            return _trade_off(evaluation)
        return self._patients()

    def _losses(self) -> SvgPicture:
        """One row of panels a head."""
        panels, seen = [], []
        figures = sections.loss_figures(self.signals, self.partition, self.task)
        for number, figure in enumerate(figures, start=1):
            panels += figure["panels"]
            seen.append(f"Row {number}, {figure['head']}: {figure['seen']}")
        if not panels:
            raise _not_measured("no image of these patients has a label and a loss")
        return side_by_side(panels, _LOSSES + " ".join(seen))

    def _patients(self) -> SvgPicture:
        """The withdrawn patients one by one, by the channel that tells most of each."""
        if UNLEARNED not in self.signals or len(self.signals) < 3:
            raise _not_measured("it takes one unlearned model, and retrained ones to compare with")

        knowledge = AdversaryKnowledge(
            self.partition.of_request(), self.signals, seed=self.seed, task=self.task
        )
        channels = channels_of(self.signals[ORIGINAL])
        scored = score_draw(through(knowledge, channels), level=FALSE_DISCOVERY)
        if "any" not in scored:
            raise _not_measured(
                "no channel scores these patients; there may be too few never-seen ones"
            )

        # The most remembered first
        result = scored["any"]
        remembered, over = standing_out(scored, level=FALSE_DISCOVERY)
        marks = []
        for place in np.argsort(-result.scores.forgotten)[:MOST_PATIENTS]:
            code = int(result.forgotten[place])
            outcome = "remembered" if code in remembered else "over" if code in over else ""
            marks.append(
                PatientMark(
                    label=verdict_text.short(self._digest(code)),
                    score=float(result.scores.forgotten[place]),
                    mark=outcome,
                    note=f"{result.scores.percentile[place]:.0f} %",
                )
            )

        panel = patient_figure.strip_panel(
            "plot-patients",
            "Each withdrawn patient",
            marks,
            never_seen=result.scores.never_seen,
        )
        return side_by_side([panel], _PATIENTS)

    def _digest(self, code: int) -> str:
        """The keyed digest of a patient code."""
        row = np.flatnonzero(self.partition.patient == code)[0]
        signals = self.signals[ORIGINAL]
        return str(signals.select(np.array([row])).patient[0])


def _trade_off(evaluation: Evaluation) -> SvgPicture:
    """Distance to retraining against use."""
    drawn = sections.trade_off(evaluation)
    if drawn is None:
        raise _not_measured("the gap needs an original, an unlearned and two retrained models")
    return side_by_side(drawn["pictures"], _TRADE_OFF + drawn["seen"])


def _not_measured(why: str) -> EvaluationError:
    return EvaluationError(Fault("the evaluation cannot be drawn in this way", why=why))
