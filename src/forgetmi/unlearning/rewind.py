"""Rewinding: choose the epoch whose model treats the forgotten like patients it was never trained on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.label_matched import Measure, matched_mean, per_sample
from forgetmi.unlearning.loaders import GuardedLoaders


class History:
    """Weights and buffers of past epochs; part of the state an interrupted run resumes from."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []

    def keep(self, student: NetModule) -> None:
        """Add a copy of the present state."""
        state = {name: value.detach().clone() for name, value in student.state_dict().items()}
        self.states.append(state)

    def state_dict(self) -> dict[str, Any]:
        """The states."""
        return {"kept": self.states}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Restore them."""
        self.states = list(state_dict["kept"])


def rewind(
    student: NetModule, history: History, loaders: GuardedLoaders, *, measure: Measure, task: Task
) -> dict[str, Any]:
    """Load, in place, the state whose mean on the forget set is closest to a reference; of several the latest.

    The reference is the last state's mean on validation patients, re-weighted to the forget set's labels.

    Args:
        student: The model.
        history: Its states, first to last.
        loaders: Forget and validation set, with labels.
        measure: Averaged over all heads; error moves in steps of one sample, cross_entropy (the task's loss) is finer.
        task: Of the labels.

    Returns:
        Facts for the trace. Rewinding means something where the last state is worse on the forgotten than on
        validation patients.

    Source: SCRUB+R (Kurmanji et al. 2023, arXiv 2302.09880), whose validation set holds the forgotten class alone and
    whose model has one head. One head alone may be forgotten while another still remembers.
    """
    # The forget set's mean in each state.
    means: list[float] = []
    for state in history.states:
        student.load_state_dict(state)
        _, values = per_sample(student, loaders.forget, measure, task=task, heads="all")
        means.append(float(values.double().mean()))

    # The last state's mean on validation patients, with the forget set's mix of labels.
    forget_label, _ = per_sample(student, loaders.forget, measure, task=task, heads="all")
    label, values = per_sample(student, loaders.validation, measure, task=task, heads="all")
    reference = matched_mean(label, values, forget_label)

    # Of equally close states the latest.
    best = min(range(len(means)), key=lambda epoch: (abs(means[epoch] - reference), -epoch))
    student.load_state_dict(history.states[best])
    return {
        "rewound to epoch": best,
        "reference": reference,
        "forget set after each epoch": means,
        "worse than the reference at the end": means[-1] > reference,
    }
