"""Numbers for a tracker while work goes on: steps and epochs as they are logged, also by worker processes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forgetmi.core.logs import STEP, job_of, listening, measured
from forgetmi.core.scores import Evaluation
from forgetmi.run.directory import RunDirectory
from forgetmi.run.trace_file import read_trace
from forgetmi.run.track import Kind, Tracker, check_tracker, scores

logger = logging.getLogger(__name__)


class LiveTracker(logging.Handler):
    """Hands the numbers of epochs and steps on to a tracker; see `live_tracker`.

    The tracker begins with the first number: an output is taken for its specification before anything lies in it. One
    that fails later, e.g. because its server is gone, is given up; the work goes on.

    Args:
        kind: Which tracker.
        folder: Where it keeps its files.
        settings: Numbers to keep with it.
        label: Name of a job as it is shown; a digest would say nothing.
    """

    def __init__(
        self,
        kind: Kind,
        folder: Path,
        settings: Mapping[str, Any],
        label: Callable[[str], str] = str,
    ) -> None:
        super().__init__()
        self._kind: Kind = kind
        self._folder = folder
        self._settings = settings
        self._label = label
        self._tracker: Tracker | None = None
        self._failed = False
        self._sent: set[tuple[str, int]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the numbers of an epoch or a step on."""
        values = getattr(record, "values", None)
        if not values:
            return

        name = self._shown(job_of(record))
        epoch, step = getattr(record, "epoch", None), getattr(record, "step", None)
        if epoch is not None:
            self._epoch(name, epoch, values)
        elif step is not None:
            self._send(values, f"{name}/step", step)

    def add_epochs(self, name: str, epochs: Sequence[Mapping[str, Any]]) -> None:
        """Hand on what was not seen live of a model's epochs: an interrupted command or another machine did them.

        Args:
            name: Of the model.
            epochs: Its stored losses.
        """
        shown = self._shown(name)
        for position, values in enumerate(epochs, start=1):
            if (shown, position) not in self._sent:
                self._epoch(shown, position, measured(values))

    def add_run(self, directory: RunDirectory, names: Sequence[str]) -> None:
        """Hand on the rest of a finished run: epochs that were not seen live, and every score.

        Args:
            directory: The run.
            names: Its models.
        """
        for name in names:
            self.add_epochs(name, read_trace(directory, name).epochs)
        self._send(scores(Evaluation.read(directory.metrics)), "", 0)

    def finish(self) -> None:
        """End the tracker's run."""
        if self._tracker is not None:
            self._tracker.__exit__(None, None, None)

    def _shown(self, job: str) -> str:
        """A name that every tracker takes."""
        return re.sub(r"[^\w\-. /]", "", self._label(job)) or "model"

    def _epoch(self, name: str, epoch: int, values: Mapping[str, float]) -> None:
        self._sent.add((name, epoch))
        self._send(values, name, epoch - 1)

    def _send(self, values: Mapping[str, float], group: str, step: int) -> None:
        """Hand numbers on under their group's name."""
        if self._failed or not values:
            return
        named = {f"{group}/{key}" if group else key: value for key, value in values.items()}
        try:
            if self._tracker is None:
                self._tracker = Tracker(self._kind, self._folder, "run", self._settings)
            self._tracker.log(named, step=step, group=group)
        except Exception as error:  # noqa: BLE001 - each library has errors of its own
            self._failed = True
            logger.warning("tracking ended: %s", type(error).__name__)


@contextmanager
def live_tracker(
    kind: Kind,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    label: Callable[[str], str] = str,
) -> Iterator[LiveTracker | None]:
    """Hand on what is logged in the block: every step and epoch, as it happens.

    Args:
        kind: Which tracker; empty = none.
        folder, settings, label: See `LiveTracker`.

    Yields:
        The tracker, for what is known at the end; None where none is asked for.

    Raises:
        SpecError: It is not installed, or its server cannot be reached; nothing is written.
    """
    if not kind:
        yield None
        return

    check_tracker(kind)
    tracker = LiveTracker(kind, folder, settings, label)
    try:
        with listening(tracker, STEP):
            yield tracker
    finally:
        tracker.finish()
