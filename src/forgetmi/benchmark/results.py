"""From stored scores to one number a table cell: mean over training seeds, draws and unlearning seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from forgetmi.benchmark.grid import Cell, Point
from forgetmi.benchmark.measured import Found, Measured, Number, Read, mean
from forgetmi.benchmark.store import Store
from forgetmi.benchmark.work import evaluation_of, name_of, originals
from forgetmi.benchmark.yardstick import cheapest
from forgetmi.core.cost import busy_seconds
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.scores import Failed
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.report.table import TableCell
from forgetmi.run.device import device_of
from forgetmi.run.run_data import open_run

FEW = 15  # forgotten patients; with fewer, several draws are needed for a number worth reading
DRAWS = 3


@dataclass(frozen=True, eq=False)
class Results:
    """Everything measured.

    Args:
        models: All of it; made by `collect`.
        forgotten: Per percentage, patients and images of each draw.
    """

    models: tuple[Measured, ...]
    forgotten: Mapping[float, tuple[tuple[int, int], ...]]

    def measured(self, row: str, percent: float) -> list[list[Measured]]:
        """The models of one table cell: for each training seed those of all draws and unlearning seeds."""
        # In the order of the training seeds
        by_seed: dict[int, list[Measured]] = {}
        for model in self.models:
            if (model.row, model.percent) == (row, percent):
                by_seed.setdefault(model.seed, []).append(model)
        return list(by_seed.values())

    def cell(self, row: str, percent: float, read: Read) -> TableCell:
        """One table cell: the `summary` over training seeds of means over draws and unlearning seeds."""
        groups = [list(map(read, group)) for group in self.measured(row, percent)]
        return summary(groups)

    def has(self, row: str) -> bool:
        """Whether there is such a row."""
        return any(model.row == row for model in self.models)

    def failures(self, percent: float) -> list[str]:
        """One sentence a row that failed at a percentage, with the reason."""
        failures: Counter[tuple[str, str]] = Counter()
        for model in self.models:
            if model.percent == percent and model.outcome is not None and model.outcome.reason:
                failures[model.row, model.outcome.reason] += 1

        sentences = []
        for (row, reason), count in failures.items():
            runs = "1 run" if count == 1 else f"{count} runs"
            sentences.append(f"{percent:g} %, {row} failed ({runs}): {reason}")
        return sentences

    def resolvable(self, percent: float) -> bool:
        """Whether enough patients are forgotten, in one draw or in several, for a number worth reading."""
        draws = self.forgotten[percent]
        return min(patients for patients, _ in draws) >= FEW or len(draws) >= DRAWS


def summary(groups: Sequence[Sequence[Found]]) -> TableCell:
    """Mean over groups of their means; a run that failed is stated, never left out.

    The interval is Student's (95 %) over the groups, cut at the values that the number can have; with one group the
    mean of the bootstrap intervals over patients.

    Args:
        groups: Runs of independent groups, each with at least one.
    """
    # Without a run, or with a failed one, there is no mean
    runs = [run for group in groups for run in group]
    failed = [run for run in runs if isinstance(run, Failed)]
    if not runs:
        return TableCell(None, reason="not run")
    if failed:
        share = "" if len(failed) == len(runs) else f" ({len(failed)} of {len(runs)} runs)"
        return TableCell(None, reason=failed[0].reason + share)

    # Each group counts once, however many runs it has.
    means = []
    for group in groups:
        means.append(mean([run for run in group if isinstance(run, Number)]))

    # One group has no spread
    if len(means) == 1:
        return TableCell(means[0].value, means[0].interval)

    # Student's interval over the groups
    values = np.array([number.value for number in means])
    centre = float(values.mean())
    quantile = stats.t.ppf(0.975, len(values) - 1)
    half = float(quantile * values.std(ddof=1) / np.sqrt(len(values)))

    low, high = means[0].within
    return TableCell(centre, (max(low, centre - half), min(high, centre + half)))


def collect(store: Store, grid: Sequence[Point]) -> Results:
    """Read what is stored of a grid.

    Args:
        store: Where it lies.
        grid: All points.
    """
    # Patients and images of each forget set, which all training seeds share
    forgotten: dict[float, dict[int, tuple[int, int]]] = {}
    for partition, spec in {point.spec.partition: point.spec for point in grid}.items():
        count = open_run(spec).partition.counts()["forget"]
        draws = forgotten.setdefault(partition.percent, {})
        draws[partition.draw] = count["patients"], count["images"]

    # Every model with its scores, point by point
    models: list[Measured] = []
    for point in grid:
        models += _of(store, point)

    return Results(
        tuple(models),
        {percent: tuple(draws.values()) for percent, draws in forgotten.items()},
    )


def _of(store: Store, point: Point) -> Iterator[Measured]:
    """Every model of a point with its scores."""
    # What one retraining cost, over those that could be made
    device = device_of(point.spec)
    retrained = [store.outcome(cell.digest) for cell in point.retrains]
    finished = [outcome for outcome in retrained if outcome and not outcome.reason]
    retraining = None
    if finished:
        seconds = [busy_seconds(outcome.cost, device) for outcome in finished]
        retraining = float(np.mean(seconds))
    exact = cheapest(store, point, device=device, retraining=retraining)

    # Each model is measured with those that started from the same original
    scores = {original: evaluation_of(store, point, original) for original in originals(point)}
    partition = point.spec.partition

    def measured(row: str, model: str, cell: Cell, original: str) -> Measured:
        return Measured(
            row,
            partition.percent,
            partition.draw,
            point.spec.seed,
            cell.number,
            model,
            store.outcome(cell.digest),
            scores[original],
            retraining,
            None if exact is None else exact.seconds,
            device,
        )

    usual = point.original
    yield measured(ORIGINAL, ORIGINAL, usual, usual.digest)

    # A retrained model that could not be had is stated: every distance of this point rests on fewer of them.
    unfinished = [outcome for outcome in retrained if not outcome or outcome.reason]
    reference = next(iter([*unfinished, *finished]), None)
    yield replace(measured(FLOOR, FLOOR, usual, usual.digest), outcome=reference)

    # Originals that methods need for themselves, then what unlearned
    for row, cell in point.own.items():
        yield measured(own_original(row), ORIGINAL, cell, cell.digest)
    for row, cells in point.unlearned.items():
        for cell in cells:
            yield measured(row, name_of(cell), cell, cell.original)


def own_original(row: str) -> str:
    """Row of the original that a method needs for itself."""
    return f"{ORIGINAL} for {row}"
