"""How the original is trained for a method that needs more of that training than its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Recorder
from forgetmi.core.task import Task
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.net_module import NetModule
from forgetmi.model.recipe import Recipe
from forgetmi.model.train import TrainingTrace
from forgetmi.unlearning.loaders import GuardedLoader


class TrainingLog(Protocol):
    """What is kept while an original is trained, and given to unlearning."""

    def save(self, path: Path, /) -> None:
        """Write a file or folder; a log that was streamed to that folder already is only completed."""
        ...


class LoggingRecorder(Recorder, TrainingLog, Protocol):
    """A recorder that is itself the log."""


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """Everything a training of an original needs, and no validation or holdout patient.

    Args:
        samples: The training side; its ``rows`` are sorted, and no other row can be read through it.
        forget: Rows that will be forgotten.
        patient: Patient codes of all rows of the cohort.
        recipe: How a model is trained.
        seed: Root seed.
        task: Of the labels.
        fresh_model: From a seed to an untrained model.
        usual: The usual training of one model, with recorders that observe every step.
        state: File to save progress to and resume from; None = not resumable.
        log: File or folder where the log will be saved; a large one is streamed there.
        progress: Called with (epochs done, total epochs).
    """

    samples: GuardedLoader
    forget: Ints
    patient: Ints
    recipe: Recipe
    seed: int
    task: Task
    fresh_model: Callable[[int], NetModule]
    usual: Callable[[Sequence[Recorder]], tuple[NetModule, TrainingTrace]]
    state: Path | None = None
    log: Path | None = None
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class TrainedOriginal:
    """An original, the trace of its training, and the log that its method needs (if any)."""

    model: NetModule | Ensemble
    trace: TrainingTrace
    log: TrainingLog | None = None


@dataclass(frozen=True)
class OwnOriginal:
    """How a method trains its original; named in its `MethodInfo`.

    Args:
        train: From the method's options and the task to the trained original.
        load: Reads what the log's ``save`` wrote.
    """

    train: Callable[[Any, TrainingTask], TrainedOriginal]
    load: Callable[[Path], TrainingLog]


def watched(
    recorder: Callable[[Any, TrainingTask], LoggingRecorder],
    load: Callable[[Path], TrainingLog],
) -> OwnOriginal:
    """The usual training, observed by a recorder.

    Args:
        recorder: From the method's options and the task to a new recorder.
        load: Reads what the recorder's ``save`` wrote.
    """

    def train(method: Any, task: TrainingTask) -> TrainedOriginal:
        # The recorder observes the usual training and is itself the log.
        log = recorder(method, task)
        model, trace = task.usual([log])
        return TrainedOriginal(model, trace, log)

    return OwnOriginal(train, load)
