"""The cost of a piece of work: seconds on the clock, of processors and of a device, memory, and a device's energy."""

from __future__ import annotations

import resource
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from forgetmi.core.devices import is_accelerator
from forgetmi.core.energy import joules_so_far
from forgetmi.core.serialization import LATER

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Cost:
    """What a piece of work cost.

    Args:
        seconds: On the clock.
        cpu_seconds: Of processor time, over all threads.
        peak_memory: Anonymous memory at most, bytes.
        device_seconds: On the clock while a device was held for the work; 0 = none was.
        energy: Joules that the device used meanwhile; 0 = it does not tell, or there was none.
    """

    seconds: float
    cpu_seconds: float
    peak_memory: int
    device_seconds: float = field(default=0.0, metadata=LATER)
    energy: float = field(default=0.0, metadata=LATER)

    @property
    def busy(self) -> float:
        """Seconds by which works are compared: of the device where one was held, else of processors."""
        return self.device_seconds or self.cpu_seconds

    @property
    def kind(self) -> str:
        """What `busy` counts, in words."""
        return "device time" if self.device_seconds else "processor time"


def busy_seconds(cost: Cost, device: str) -> float:
    """What a piece of work kept busy: seconds on the clock of a device that computes, else processor seconds.

    While a GPU computes, the processor only waits for it or feeds it: its seconds say little about the work.

    Args:
        cost: Of the work.
        device: On which it was done, "cpu" or "cuda".

    Examples:
        >>> cost = Cost(seconds=10.0, cpu_seconds=36.0, peak_memory=0)
        >>> busy_seconds(cost, "cpu"), busy_seconds(cost, "cuda")
        (36.0, 10.0)
    """
    if device == "cpu":
        return cost.cpu_seconds
    return cost.device_seconds or cost.seconds


def anonymous_memory() -> int:
    """Anonymous resident memory of this process in bytes; memory-mapped files are not counted.

    Where the system does not report it (no /proc), the peak resident set is returned instead, which is never smaller.
    """
    # RssAnon is given in kB.
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("RssAnon:"):
                kibibytes = int(line.split()[1])
                return kibibytes * 1024

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Meter:
    """Measures a ``with`` block; read `cost` after it.

    Work that goes on from a saved state counts as if it had never been interrupted; see `go_on_from`.

    Args:
        device: Held for the work, e.g. "cuda"; "cpu" = none.
        interval: Seconds between two readings of the memory.
    """

    def __init__(self, device: Any = "cpu", *, interval: float = 0.05) -> None:
        self._device = is_accelerator(device)
        self._energy: float | None = None
        self.cost = Cost(0.0, 0.0, 0)
        self._interval = interval
        self._stop = threading.Event()
        self._peak = 0

        # The peak is raised by the watching thread and by `go_on_from`.
        self._lock = threading.Lock()

    def __enter__(self) -> Meter:
        # Never below what the process held at the start.
        self._peak = anonymous_memory()
        self._energy = joules_so_far() if self._device else None
        _RUNNING.append(self)

        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._started = time.perf_counter(), time.process_time()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cost = self.now()
        _RUNNING.remove(self)
        self._stop.set()
        self._thread.join()

    def now(self) -> Cost:
        """The cost so far of the block that runs."""
        wall, cpu = self._started
        seconds = time.perf_counter() - wall
        used = joules_so_far() if self._energy is not None else None
        return Cost(
            seconds=seconds,
            cpu_seconds=time.process_time() - cpu,
            peak_memory=max(self._peak, anonymous_memory()),
            device_seconds=seconds if self._device else 0.0,
            energy=0.0 if used is None or self._energy is None else used - self._energy,
        )

    def _watch(self) -> None:
        """Read the memory again and again, in a thread of its own."""
        while not self._stop.wait(self._interval):
            self._raise_peak(anonymous_memory())

    def _raise_peak(self, memory: int) -> None:
        with self._lock:
            self._peak = max(self._peak, memory)

    def _add(self, seconds: float, cpu_seconds: float, peak: int, energy: float) -> None:
        """Count earlier work, too: the block seems to have started so much sooner."""
        wall, cpu = self._started
        self._started = wall - seconds, cpu - cpu_seconds
        if self._energy is not None:
            self._energy -= energy
        self._raise_peak(peak)


# Meters that run now, the innermost last.
_RUNNING: list[Meter] = []


def cost_so_far() -> Cost | None:
    """The cost so far on the innermost running meter, to be saved with its work's progress; None where none runs."""
    return _RUNNING[-1].now() if _RUNNING else None


def go_on_from(cost: Cost) -> None:
    """Set the innermost running meter to its cost when the progress was saved, and those around it as far on.

    What an interrupted process did after that moment is done again, and counts once.

    Args:
        cost: What `cost_so_far` returned then.
    """
    if not _RUNNING:
        return

    # The same difference is added to every meter, so that each still counts what is its own.
    now = _RUNNING[-1].now()
    seconds = cost.seconds - now.seconds
    cpu_seconds = cost.cpu_seconds - now.cpu_seconds
    energy = cost.energy - now.energy
    for meter in _RUNNING:
        meter._add(seconds, cpu_seconds, cost.peak_memory, energy)
