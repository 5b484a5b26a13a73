"""A line at least every minute of long work, where nobody watches a progress bar: stage, epoch, loss, time left."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from forgetmi.core.logs import is_quiet, job_of, listening
from forgetmi.core.printable import printable

SECONDS = 60.0


@dataclass
class _Stage:
    """What is known of a piece of work."""

    since: float
    done: int = 0
    total: int = 0
    first: tuple[float, int] | None = (
        None  # when the first part was done here, and how many were then
    )
    last: float = 0.0
    loss: str = ""
    message: str = ""


class Journal(logging.Handler):
    """Keeps what was heard last of each piece of work that goes on.

    Use it to say how far work is at any moment; its lines hold stages, counts, losses and times.

    Args:
        clock: Seconds since some moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._begun = clock()
        self._stages: dict[str, _Stage] = {}
        self._message = ""
        self._own = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line of the log."""
        job, message = job_of(record), record.getMessage()
        with self._own:
            if not job:
                self._message = message
                return

            # The first number of an epoch is its loss
            stage = self._stage(job)
            stage.message = message
            values = getattr(record, "values", None)
            if values and hasattr(record, "epoch"):
                name, value = next(iter(values.items()))
                stage.loss = f"{name} {value:.4g}"

    def update(self, name: str, done: int, total: int) -> None:
        """A piece of work has ``done`` of ``total`` parts behind it."""
        with self._own:
            # What is done is said by the display
            if done >= total:
                self._stages.pop(name, None)
                return

            stage = self._stage(name)
            stage.done, stage.total = done, total
            stage.last = self._clock()
            if stage.first is None:
                stage.first = stage.last, done

    def lines(self) -> list[str]:
        """A line for each piece of work that goes on, or one of the whole."""
        with self._own:
            now = self._clock()
            lines = [self._line(name, stage, now) for name, stage in self._stages.items()]
            if lines:
                return lines

            # Between two stages, or before the first
            last = f", last: {printable(self._message)}" if self._message else ""
            return [f"at work for {_duration(now - self._begun)}{last}"]

    def _stage(self, name: str) -> _Stage:
        return self._stages.setdefault(name, _Stage(self._clock()))

    def _line(self, name: str, stage: _Stage, now: float) -> str:
        parts = [f"{stage.done} of {stage.total}"] if stage.total else []

        # How it goes: the last loss, or the last line where nothing is counted
        if stage.loss:
            parts.append(stage.loss)
        if not stage.total and stage.message:
            parts.append(printable(stage.message))

        # Time
        parts.append(f"{_duration(now - stage.since)} so far")

        left = _left(stage)
        if left is not None:
            parts.append(f"about {_duration(left)} left")
        return f"{printable(name)}: {', '.join(parts)}"


def _left(stage: _Stage) -> float | None:
    """Seconds to go, by the parts that were done here: work that was resumed begins in the middle."""
    if stage.first is None:
        return None

    # The first part done here is measured from the start where it is the only one
    begun, before = stage.first
    parts, seconds = stage.done - before, stage.last - begun
    if parts <= 0:
        parts, seconds = 1, begun - stage.since
    return (stage.total - stage.done) * seconds / parts


class Heartbeat:
    """Prints lines to standard error while a block runs, at least one every minute; none when that is a terminal.

    Args:
        lines: What to print.
        journal: Listens to the package's log meanwhile.
        seconds: From one line to the next, > 0.
    """

    def __init__(
        self, lines: Callable[[], Sequence[str]], journal: Journal, seconds: float = SECONDS
    ) -> None:
        self._lines, self._journal, self._seconds = lines, journal, seconds
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._listening = ExitStack()

    def __enter__(self) -> Heartbeat:
        # A terminal has a bar, and a quiet command says nothing
        if is_quiet() or sys.stderr.isatty():
            return self

        self._listening.enter_context(listening(self._journal, logging.DEBUG))
        self._thread = threading.Thread(target=self._beat, args=(sys.stderr,), daemon=True)
        self._thread.start()
        return self

    def _beat(self, stream: object) -> None:
        while not self._ended.wait(self._seconds):
            for line in self._lines():
                print(line, file=stream, flush=True)  # type: ignore[arg-type]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._listening.close()


def _duration(seconds: float) -> str:
    """Seconds, minutes, or hours and minutes."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
