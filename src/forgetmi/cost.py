"""What a piece of work cost: wall seconds, CPU seconds and peak memory of this process."""

from __future__ import annotations

import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, seconds of processor time over all threads, and peak anonymous memory in bytes."""

    seconds: float
    cpu_seconds: float
    peak_memory: int


def anonymous_memory() -> int:
    """Anonymous resident memory of this process in bytes; memory-mapped files are not counted.

    Where the system does not tell (no /proc), the peak resident set is returned instead, which is never smaller.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Meter:
    """Measures a ``with`` block; read `cost` after it.

    Args:
        interval: Seconds between two readings of the memory.
    """

    def __init__(self, interval: float = 0.05) -> None:
        self._interval = interval
        self._stop = threading.Event()
        self._peak = 0
        self.cost = Cost(0.0, 0.0, 0)

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self._peak = max(self._peak, anonymous_memory())

    def __enter__(self) -> Meter:
        self._peak = anonymous_memory()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._started = time.perf_counter(), time.process_time()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        wall, cpu = self._started
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        self._stop.set()
        self._thread.join()
        self.cost = Cost(seconds, cpu_seconds, max(self._peak, anonymous_memory()))
