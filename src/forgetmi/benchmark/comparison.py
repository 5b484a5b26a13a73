"""Every method by cost and closeness, and which of them none other beats in both: the benchmark's front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from forgetmi.benchmark.families import family_of
from forgetmi.benchmark.layouts import NOT_APPLICABLE
from forgetmi.benchmark.measured import Found, Measured, Number, mean
from forgetmi.benchmark.measured_heads import heads_of_results
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.settings import Setting
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.scores import Failed
from forgetmi.evaluation.gaps import FLOOR, GAP, GAP_JOINT
from forgetmi.report.table import TableCell

REFERENCE = "reference"  # family of the original and of Retrain


@dataclass(frozen=True)
class Compared:
    """One model or method at one percentage.

    Args:
        label: Name for the reader.
        family: Of the method; `REFERENCE` for the original and Retrain.
        percent: Share of the images that is forgotten.
        cost: Share of one retraining.
        gap: Gap to the retrained models over its floor: 1 = as near as they are to each other.
        jsf: Divergence from Retrain's predictions on the forgotten, mean over the single heads, nats.
        on_front: Whether no other method is as cheap and as near, and better in one of the two.
    """

    label: str
    family: str
    percent: float
    cost: TableCell
    gap: TableCell
    jsf: TableCell
    on_front: bool = False

    @property
    def place(self) -> tuple[float, float] | None:
        """Cost and gap over floor of a method; None where one is missing, or of a reference."""
        if self.family == REFERENCE or self.cost.value is None or self.gap.value is None:
            return None
        return self.cost.value, self.gap.value


def compare(results: Results, settings: Sequence[Setting], percent: float) -> list[Compared]:
    """The original, Retrain, then every method, each with whether it is on the front.

    Where too few patients are forgotten to tell methods apart, none is.

    Args:
        results: What was measured.
        settings: The methods.
        percent: At which percentage.
    """
    nearness = partial(_nearness, results, percent=percent)

    # The references: the original costs nothing more, and the floor is the retrained models' own gap
    gap, jsf = nearness(ORIGINAL)
    rows = [Compared("Original", REFERENCE, percent, NOT_APPLICABLE, gap, jsf)]
    gap, jsf = nearness(FLOOR)
    rows.append(Compared("Retrain", REFERENCE, percent, TableCell(1.0), gap, jsf))

    # The methods
    for setting in settings:
        cost = results.cell(setting.name, percent, Measured.share)
        gap, jsf = nearness(setting.name)
        rows.append(Compared(setting.label, family_of(setting.kind), percent, cost, gap, jsf))

    return _with_front(rows) if results.resolvable(percent) else rows


def front(places: Sequence[tuple[float, float]]) -> list[bool]:
    """For each place, whether no other is at most as large in both values and smaller in one.

    Args:
        places: Cost and distance of each; equal ones are on the front together.
    """
    return [not any(_beats(other, place) for other in places) for place in places]


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def _with_front(rows: Sequence[Compared]) -> list[Compared]:
    """The same rows, those on the front marked."""
    places = [row.place for row in rows]
    measured = [place for place in places if place is not None]
    best = {place for place, is_best in zip(measured, front(measured), strict=True) if is_best}
    return [replace(row, on_front=row.place in best) for row in rows]


def _nearness(results: Results, row: str, *, percent: float) -> tuple[TableCell, TableCell]:
    """Gap over its floor, of all heads together where there are several, and JSf."""
    heads, joint = heads_of_results(results)

    # A ratio of means: one small floor among several decides nothing
    gap = results.cell(row, percent, partial(_gap, joint=joint))
    floor = results.cell(row, percent, lambda model: model.floor(joint or model.head))
    jsf = results.cell(row, percent, partial(_jsf, heads=heads))
    return _ratio(gap, floor), jsf


def _ratio(gap: TableCell, floor: TableCell) -> TableCell:
    if gap.value is None:
        return gap
    if floor.value is None:
        return floor
    if floor.value <= 0:
        return TableCell(None, reason="the floor is 0")
    return TableCell(gap.value / floor.value)


def _gap(model: Measured, *, joint: str) -> Found:
    """The gap of all heads together, or of the only one; of the retrained models their floor."""
    head = joint or model.head
    if model.row == FLOOR:
        return model.floor(head)
    return model.score(GAP_JOINT if joint else GAP, head, "")


def _jsf(model: Measured, *, heads: Sequence[str]) -> Found:
    """The mean over the single heads; one that failed leaves it without a number."""
    numbers: list[Number] = []
    for head in heads:
        found = model.score("jsf", head, "forget")
        if isinstance(found, Failed):
            return found
        numbers.append(found)
    return mean(numbers) if numbers else Failed("jsf", "no head was measured")
