"""Rewinding: of the states a method went through, the one that treats the forgotten like patients never seen."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from forgetmi.model.image_text import ImageText
from forgetmi.unlearning.label_matched import Measure, matched_mean, per_sample
from forgetmi.unlearning.loaders import GuardedLoaders


class History:
    """Weights and buffers as they were; part of the state an interrupted run resumes from."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Tensor]] = []

    def keep(self, student: ImageText) -> None:
        """Add a copy of the present state."""
        self.kept.append(
            {name: value.detach().clone() for name, value in student.state_dict().items()}
        )

    def state_dict(self) -> dict[str, Any]:
        """The states."""
        return {"kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Take them back."""
        self.kept = list(state_dict["kept"])


def rewind(
    student: ImageText, history: History, loaders: GuardedLoaders, *, measure: Measure
) -> dict[str, Any]:
    """Load, in place, the state whose mean on the forget set is closest to a reference; of several the latest.

    The reference is the last state's mean on validation patients, re-weighted to the forget set's labels.

    Args:
        student: The model.
        history: Its states, first to last.
        loaders: Forget and validation set, with labels.
        measure: Of the image head; error moves in steps of one sample, cross_entropy is finer.

    Returns:
        What was found, for the trace. Rewinding means something where the last state is worse on the forgotten than on
        validation patients.

    Source: SCRUB+R (Kurmanji et al. 2023, arXiv 2302.09880), whose validation set holds the forgotten class alone.
    """
    means = []
    for state in history.kept:
        student.load_state_dict(state)
        means.append(float(per_sample(student, loaders.forget, measure)[1].double().mean()))
    like, _ = per_sample(student, loaders.forget, measure)
    reference = matched_mean(*per_sample(student, loaders.validation, measure), like)
    best = min(range(len(means)), key=lambda at: (abs(means[at] - reference), -at))
    student.load_state_dict(history.kept[best])
    return {
        "rewound to epoch": best,
        "reference": reference,
        "forget set after each epoch": means,
        "worse than the reference at the end": means[-1] > reference,
    }
