"""From stored scores to one number a table cell: mean over training seeds, draws and unlearning seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from forgetmi.audit.rule import Rule
from forgetmi.benchmark.grid import Cell as Model
from forgetmi.benchmark.grid import Point
from forgetmi.benchmark.store import Outcome, Store
from forgetmi.benchmark.work import evaluation_of, name_of, originals
from forgetmi.core.model_names import ORIGINAL, is_retrained
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.evaluation.gaps import FLOOR, stayed
from forgetmi.report.table import TableCell
from forgetmi.run.run_data import open_run

FEW = 15  # forgotten patients; with fewer, several draws are needed for a number worth reading
DRAWS = 3
POSITIVE = (0.0, float("inf"))


@dataclass(frozen=True)
class Number:
    """One measured number with its interval over patients, and the values it can have."""

    value: float
    interval: tuple[float, float] | None = None
    within: tuple[float, float] = (0.0, 1.0)


Found = Number | Failed
Read = Callable[["Measured"], Found]


@dataclass(frozen=True, eq=False)
class Measured:
    """One model with the scores of the group it was measured in.

    Args:
        row: "original", "retrain", or a setting's name.
        percent, draw, seed, number: Forget set, training seed, unlearning seed.
        model: Its name among the scores.
        outcome: What became of it (for the retrained models, of the first that could not be had, if any); None = not
            made yet.
        evaluation: Scores; None = not measured.
        retraining: CPU seconds of one retraining of this point; None = none was done.
    """

    row: str
    percent: float
    draw: int
    seed: int
    number: int
    model: str
    outcome: Outcome | None
    evaluation: Evaluation | None
    retraining: float | None

    def score(self, name: str, head: str, on: str) -> Found:
        """One score; of the retrained models their mean."""
        failed = self._missing()
        if failed is not None:
            return failed
        models = (
            [name for name in self._scores().scores if is_retrained(name)]
            if self.row == FLOOR
            else [self.model]
        )
        found = [self._get(model, name, head, on) for model in models]
        bad = next((one for one in found if isinstance(one, Failed)), None)
        if bad is not None or not found:
            return bad or Failed(name, "no model was retrained", head, on)
        good = [one for one in found if isinstance(one, Score)]
        within = (-1.0, 1.0) if name == "loss_spearman" else (0.0, 1.0)
        return _mean([Number(one.value, one.interval, within) for one in good])

    def floor(self, head: str) -> Found:
        """The retrained models' own gap."""
        name = "gap_floor" if head == "image" else "gap_joint_floor"
        found = self._missing() or self._get(FLOOR, name, head, "")
        return Number(found.value, found.interval) if isinstance(found, Score) else found

    def stayed(self) -> Found:
        """1 where the model ended where the original was, else 0; see `forgetmi.run.report_facts.stayed`."""
        failed = self._missing()
        return failed or Number(float(stayed(self._scores(), self.model)))

    def over_forgot(self) -> Found:
        """1 where accuracy on forgotten images is below the retrained models' by the verdict's margin, else 0."""
        found = self._missing() or self._get(self.model, "accuracy", "image", "forget")
        if isinstance(found, Failed) or found.reference is None:
            return (
                found if isinstance(found, Failed) else Failed("accuracy", "no model was retrained")
            )
        return Number(float(found.value <= found.reference - Rule().forget_margin))

    def seconds(self) -> Found:
        """CPU seconds; of the retrained models those of one."""
        failed = self._missing()
        seconds = (
            self.retraining if self.row == FLOOR else self.outcome and self.outcome.cost.cpu_seconds
        )
        return failed or (
            Failed("seconds", "not run yet")
            if seconds is None
            else Number(seconds, within=POSITIVE)
        )

    def share(self) -> Found:
        """CPU seconds as a share of one retraining."""
        if self.row == FLOOR:
            return Number(1.0, within=POSITIVE)
        failed = self._missing()
        if failed is not None or self.outcome is None or not self.retraining:
            return failed or Failed("share", "nothing was retrained")
        return Number(self.outcome.cost.cpu_seconds / self.retraining, within=POSITIVE)

    def _missing(self) -> Failed | None:
        if self.outcome is None:
            return Failed(self.row, "not run yet")
        if self.outcome.reason:
            return Failed(self.row, "failed")
        return None if self.evaluation is not None else Failed(self.row, "not measured yet")

    def _scores(self) -> Evaluation:
        assert self.evaluation is not None
        return self.evaluation

    def _get(self, model: str, name: str, head: str, on: str) -> Score | Failed:
        try:
            return self._scores().get(model, name, head=head, on=on)
        except KeyError:
            return Failed(name, "not part of this evaluation", head, on)


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
        found: dict[int, list[Measured]] = {}
        for one in self.models:
            if (one.row, one.percent) == (row, percent):
                found.setdefault(one.seed, []).append(one)
        return list(found.values())

    def cell(self, row: str, percent: float, read: Read) -> TableCell:
        """One table cell: the `summary` over training seeds of means over draws and unlearning seeds."""
        return summary([[read(one) for one in group] for group in self.measured(row, percent)])

    def has(self, row: str) -> bool:
        """Whether there is such a row."""
        return any(one.row == row for one in self.models)

    def failures(self, percent: float) -> list[str]:
        """One sentence a row that failed at a percentage, with the reason."""
        found: dict[tuple[str, str], int] = {}
        for one in self.models:
            if one.percent == percent and one.outcome is not None and one.outcome.reason:
                key = one.row, one.outcome.reason
                found[key] = found.get(key, 0) + 1
        return [
            f"{percent:g} %, {row} failed ({count} run{'' if count == 1 else 's'}): {reason}"
            for (row, reason), count in found.items()
        ]

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
    every = [one for group in groups for one in group]
    failed = [one for one in every if isinstance(one, Failed)]
    if failed or not every:
        some = f" ({len(failed)} of {len(every)} runs)" if len(failed) < len(every) else ""
        return TableCell(None, reason=failed[0].reason + some if failed else "not run")
    means = [_mean([one for one in group if isinstance(one, Number)]) for group in groups]
    if len(means) == 1:
        return TableCell(means[0].value, means[0].interval)
    values = np.array([one.value for one in means])
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    low, high = means[0].within
    return TableCell(
        float(values.mean()),
        (max(low, float(values.mean()) - half), min(high, float(values.mean()) + half)),
    )


def collect(store: Store, grid: Sequence[Point]) -> Results:
    """Read what is stored of a grid.

    Args:
        store: Where it lies.
        grid: All points.
    """
    forgotten: dict[float, dict[int, tuple[int, int]]] = {}
    for asked, spec in {point.spec.partition: point.spec for point in grid}.items():
        count = open_run(spec).partition.counts()["forget"]
        forgotten.setdefault(asked.percent, {})[asked.draw] = count["patients"], count["images"]
    return Results(
        tuple(one for point in grid for one in _of(store, point)),
        {percent: tuple(found.values()) for percent, found in forgotten.items()},
    )


def _of(store: Store, point: Point) -> Iterator[Measured]:
    retrained = [store.outcome(cell.digest) for cell in point.retrains]
    done = [outcome for outcome in retrained if outcome and not outcome.reason]
    # One that could not be had is stated: every distance of this point rests on fewer of them.
    reference = next(
        (outcome for outcome in retrained if not outcome or outcome.reason),
        done[0] if done else None,
    )
    retraining = float(np.mean([outcome.cost.cpu_seconds for outcome in done])) if done else None
    scores = {original: evaluation_of(store, point, original) for original in originals(point)}
    asked = point.spec.partition

    def one(row: str, model: str, cell: Model, original: str) -> Measured:
        return Measured(
            row,
            asked.percent,
            asked.draw,
            point.spec.seed,
            cell.number,
            model,
            store.outcome(cell.digest),
            scores[original],
            retraining,
        )

    usual = point.original
    yield one(ORIGINAL, ORIGINAL, usual, usual.digest)
    yield replace(one(FLOOR, FLOOR, usual, usual.digest), outcome=reference)
    for row, cell in point.own.items():
        yield one(own_original(row), ORIGINAL, cell, cell.digest)
    for row, cells in point.unlearned.items():
        for cell in cells:
            yield one(row, name_of(cell), cell, cell.original)


def own_original(row: str) -> str:
    """Row of the original that a method needs for itself."""
    return f"{ORIGINAL} for {row}"


def _mean(numbers: Sequence[Number]) -> Number:
    """The mean, and the mean of the intervals' ends where all have one."""
    ends = [one.interval for one in numbers if one.interval is not None]
    interval = None if len(ends) < len(numbers) else tuple(map(float, np.mean(ends, axis=0)))
    return Number(float(np.mean([one.value for one in numbers])), interval, numbers[0].within)  # type: ignore[arg-type]
