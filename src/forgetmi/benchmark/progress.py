"""How long a benchmark takes: costs measured on finished models, stated defaults before, and a line of progress."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from forgetmi.benchmark.grid import Cell
from forgetmi.benchmark.store import Store
from forgetmi.run.prepared import trained_rows
from forgetmi.run.run_data import open_run

# CPU seconds per image and epoch of the compact model at 64 pixels, and unlearning as a share of one training.
PER_IMAGE, SHARE = 0.005, 0.3
RELIABLE = 0.05  # share of the work after which its speed corrects the estimate


class Estimate:
    """CPU seconds a model takes, from the mean of finished ones of its kind, else from stated defaults.

    Args:
        store: Where finished models lie.
        cells: All models of the grid.
    """

    def __init__(self, store: Store, cells: Sequence[Cell]) -> None:
        # A finished model counts for its method, and for all models of its role.
        costs: dict[str, list[float]] = {}
        for cell in cells:
            outcome = store.outcome(cell.digest)
            if outcome is not None and not outcome.reason:
                for kind in (_kind(cell), cell.role):
                    costs.setdefault(kind, []).append(outcome.cost.cpu_seconds)

        self._means = {kind: sum(values) / len(values) for kind, values in costs.items()}

    @property
    def basis(self) -> str:
        """What the estimate rests on, in words."""
        if self._means:
            return "Estimated from the models that are finished."
        return (
            f"Estimated from defaults for the compact model: {PER_IMAGE:g} CPU s an image and epoch, unlearning "
            f"{SHARE:g} of a training."
        )

    def seconds(self, cell: Cell) -> float:
        """CPU seconds of one model."""
        for kind in (_kind(cell), cell.role):
            if kind in self._means:
                return self._means[kind]

        # Nothing of the kind is finished yet.
        images = len(trained_rows(open_run(cell.spec).partition))
        training = PER_IMAGE * images * cell.spec.training.epochs
        return training * SHARE if cell.role == "unlearn" else training


class Gauge:
    """Tells how many models are made and how much time is left, on one line.

    Args:
        cells: The models to make now.
        estimate: Of each of them.
        workers: Processes side by side.
        write: Takes a line.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        estimate: Estimate,
        *,
        workers: int,
        write: Callable[[str], None],
    ) -> None:
        self._expected = {cell.digest: estimate.seconds(cell) for cell in cells}
        self._labels = {cell.digest: cell.label for cell in cells}
        self._shares = dict.fromkeys(self._expected, 0.0)
        self._workers = max(1, min(workers or os.cpu_count() or 1, len(cells)))
        self._write = write
        self._started = time.perf_counter()

    def update(self, digest: str, done: int, total: int) -> None:
        """A model is ``done`` of ``total`` steps on its way."""
        before = self._shares[digest]
        share = done / max(total, 1)
        self._shares[digest] = share

        # A log gets a line for each finished model, a terminal one for each step.
        just_finished = before < 1 <= share
        if just_finished or sys.stderr.isatty():
            self._write(f"{self._line()}: {self._labels[digest]}")

    def lines(self) -> list[str]:
        """How far all of it is."""
        return [self._line()]

    def _line(self) -> str:
        finished = sum(part >= 1 for part in self._shares.values())
        return f"{finished}/{len(self._shares)} models, {duration(self.left())} left"

    def left(self) -> float:
        """Seconds to go: the estimate, corrected by how fast the work has been so far."""
        expected = sum(self._expected.values())
        done = sum(self._expected[digest] * share for digest, share in self._shares.items())

        # The first steps say little about the speed.
        slowness = 1.0
        if done > RELIABLE * expected:
            passed = time.perf_counter() - self._started
            slowness = passed / (done / self._workers)
        return (expected - done) / self._workers * slowness


def duration(seconds: float) -> str:
    """Hours and minutes, or seconds; what is more than nothing is never told as 0."""
    if 0 < seconds < 0.5:
        return "< 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"

    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _kind(cell: Cell) -> str:
    return f"{cell.role} {cell.setting}"
