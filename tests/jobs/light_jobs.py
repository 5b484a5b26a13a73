"""Jobs of tests, in a module that workers import in no time."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.logs import log_epoch


def note(path: Path, word: str, progress: Any) -> None:
    with path.open("a") as file:
        file.write(f"{word}\n")
    progress(1, 1)


def fail(progress: Any) -> None:
    raise MethodError("it went wrong")


def count_threads(path: Path, progress: Any) -> None:
    """Write how many threads torch computes with, which is imported as late as here."""
    import torch

    path.write_text(str(torch.get_num_threads()))


def die(folder: Path, name: str, progress: Any) -> None:
    (folder / f"{name}.began").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def leave(folder: Path, name: str, progress: Any) -> None:
    os._exit(3)


def finish(folder: Path, name: str, progress: Any) -> None:
    time.sleep(0.3)
    with (folder / name).open("x") as file:
        file.write(str(os.getpid()))
    progress(1, 1)


class Unsendable(Exception):
    """Is not made again from what it says."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(what)


def refuse(progress: Any) -> None:
    raise Unsendable("this", "there")


def state(folder: Path, name: str, fault: Fault) -> None:
    with (folder / f"{name}.killed").open("x") as file:
        file.write(str(fault))


def logs(progress: Any) -> None:
    """A line of the log, as training writes it after an epoch."""
    log_epoch(logging.getLogger("forgetmi.tests"), "training", 1, 1, {"loss": 0.5})
    progress(1, 1)


def end_process(portion: Any, progress: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def twice(number: int, progress: Any) -> int:
    return 2 * number


def die_first(folder: Path, name: str, progress: Any) -> None:
    """Kill its process the first time."""
    if not (folder / f"{name}.began").exists():
        die(folder, name, progress)
    (folder / f"{name}.done").touch()


def sleep(seconds: float, progress: Any) -> None:
    time.sleep(seconds)


def note_death(folder: Path, name: str, fault: Fault) -> None:
    (folder / f"{name}.dead").write_text(fault.what)
