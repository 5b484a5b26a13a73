"""The package's log: where a command writes it, which job a line is of, and the numbers that go with a line.

The package logs under the name ``forgetmi`` and is silent until somebody listens. Lines hold stages, counts and losses:
never an identifier, a text or a path.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.output import check_output
from forgetmi.core.printable import printable

ROOT = "forgetmi"
STEP = 5  # below DEBUG: single steps

Level = Literal["step", "debug", "info", "warning", "error"]
Form = Literal["text", "json"]
LEVELS = {"step": STEP, "debug": 10, "info": 20, "warning": 30, "error": 40}

# Longest message, characters
_MOST_MESSAGE = 2_000

_job: ContextVar[str] = ContextVar("job", default="")
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)

logging.addLevelName(STEP, "STEP")


@dataclass(frozen=True)
class LogOptions:
    """Where a command's log goes.

    Args:
        level: Least level that is written: step, debug (epochs), info (stages), warning or error; empty = none, or info
            with a file.
        file: Lines are appended to it; None = standard error.
        form: Plain text, or one JSON object a line.
        quiet: Whether progress is not shown.
    """

    level: str = ""
    file: Path | None = None
    form: str = "text"
    quiet: bool = False

    def __post_init__(self) -> None:
        faults = []
        if self.level and self.level not in LEVELS:
            faults.append(_unknown("--log-level", get_args(Level)))
        if self.form not in get_args(Form):
            faults.append(_unknown("--log-format", get_args(Form)))

        if faults:
            raise SpecError(faults)


def _unknown(option: str, known: tuple[str, ...]) -> Fault:
    return Fault("there is no such choice", where=option, do=f"Choose one of {', '.join(known)}.")


@contextmanager
def logging_to(options: LogOptions) -> Iterator[None]:
    """Write the package's log where it is asked for while the block runs.

    Raises:
        SpecError: The file cannot be written.
    """
    token = _quiet.set(options.quiet)

    try:
        with ExitStack() as stack:
            # Nobody listens unless a level or a file is named
            if options.level or options.file is not None:
                stream = stack.enter_context(_opened(options.file))
                handler = logging.StreamHandler(stream)
                handler.setFormatter(JsonLines() if options.form == "json" else TextLines())
                stack.enter_context(listening(handler, LEVELS[options.level or "info"]))
            yield
    finally:
        _quiet.reset(token)


@contextmanager
def _opened(file: Path | None) -> Iterator[IO[str]]:
    """The stream that lines are written to."""
    if file is None:
        yield sys.stderr
        return

    check_output(file, folder=False)
    if file.exists() and not file.is_file():
        raise SpecError(Fault("this is no regular file", where="--log-file", do="Choose another."))

    # Lines are appended: an interrupted command and the one that goes on share a file
    try:
        stream = file.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise SpecError(
            Fault(
                "the log cannot be written",
                where="--log-file",
                why=error.strerror or type(error).__name__,
                do="Choose another file.",
            )
        ) from error

    with stream:
        yield stream


@contextmanager
def listening(handler: logging.Handler, level: int) -> Iterator[None]:
    """Hand the package's lines from a level on to a handler while the block runs.

    Args:
        handler: Gets them, also those of worker processes.
        level: The least level.
    """
    logger = logging.getLogger(ROOT)
    before = logger.level

    # The logger lets through what the handler wants, and no less than before
    handler.setLevel(level)
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > level:
        logger.setLevel(level)

    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def level_heard() -> int:
    """The least level that anybody listens to; 0 = nobody does."""
    logger = logging.getLogger(ROOT)
    others = [*logger.handlers, *(logging.getLogger().handlers if logger.propagate else [])]

    # A handler that drops everything is nobody
    if all(isinstance(handler, logging.NullHandler) for handler in others):
        return 0
    return logger.getEffectiveLevel()


def is_quiet() -> bool:
    """Whether progress is not to be shown."""
    return _quiet.get()


@contextmanager
def working_on(job: str) -> Iterator[None]:
    """Note which job, e.g. which model, the lines of the block are of."""
    token = _job.set(job)
    try:
        yield
    finally:
        _job.reset(token)


def job_of(record: logging.LogRecord) -> str:
    """The job that a line is of; empty = of none. Called by handlers, in the process that logged or its parent."""
    return getattr(record, "job", "") or _job.get()


def log_epoch(
    logger: logging.Logger, what: str, done: int, total: int, values: Mapping[str, float]
) -> None:
    """Log an epoch's means.

    Args:
        logger: Of the module.
        what: training or unlearning.
        done, total: Epochs.
        values: Numbers by name; the line names each.
    """
    words = ", ".join(f"{name} {value:.6g}" for name, value in values.items()) or "no losses"
    extra = {"epoch": done, "epochs": total, "values": dict(values)}
    logger.debug("%s: epoch %d of %d, %s", what, done, total, words, extra=extra)


def log_step(logger: logging.Logger, what: str, step: int, values: Mapping[str, float]) -> None:
    """Log a step's numbers; ask ``logger.isEnabledFor(STEP)`` before they are brought from the device.

    Args:
        logger, what, values: See `log_epoch`.
        step: How many steps were made, this one included.
    """
    words = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
    extra = {"step": step, "values": dict(values)}
    logger.log(STEP, "%s: step %d, %s", what, step, words, extra=extra)


def measured(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an epoch's record that say how well it went (losses, AUC), not what it cost."""
    values = {}
    for name, value in record.items():
        is_cost = name.endswith("seconds") or name in ("steps", "samples")
        if isinstance(value, (int, float)) and not is_cost:
            values[name] = float(value)
    return values


class TextLines(logging.Formatter):
    """Time (UTC), level, module, job and message on a line; no traceback, which would show paths."""

    def format(self, record: logging.LogRecord) -> str:
        job = job_of(record)
        of = f" [{printable(job)}]" if job else ""
        message = printable(record.getMessage(), _MOST_MESSAGE)
        return f"{_moment(record)} {record.levelname} {record.name}{of} {message}"


class JsonLines(logging.Formatter):
    """The same as one JSON object, with the numbers of epochs and steps as numbers."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "job": job_of(record),
            "message": record.getMessage()[:_MOST_MESSAGE],
        }
        for name in ("epoch", "epochs", "step", "values"):
            if hasattr(record, name):
                line[name] = getattr(record, name)
        return json.dumps(line, default=str)


def _moment(record: logging.LogRecord) -> str:
    """When a line was logged, in UTC."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"
