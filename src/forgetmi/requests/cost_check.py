"""How well a cost law chooses: for each measured request, what it would have chosen without having seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from forgetmi.core.errors import SpecError
from forgetmi.requests.cost_law import CostLaw, MeasuredCosts, MeasuredRun, fitted

# How much dearer than the best a choice may be
TOLERANCE = 0.15


@dataclass(frozen=True)
class Checked:
    """One request and what a law that had not seen it makes of it.

    Args:
        images, forgotten: Of the request.
        chosen, best: Method that the law calls the cheapest, and the one that was.
        excess: Seconds of the chosen one over those of the best, minus 1.
        inside: Methods whose seconds lie in the interval that the law gives for them.
        methods: How many were compared.
    """

    images: int
    forgotten: int
    chosen: str
    best: str
    excess: float
    inside: int
    methods: int

    @property
    def good(self) -> bool:
        """Whether the choice costs little more than the best."""
        return self.excess <= TOLERANCE


def checks(costs: MeasuredCosts, names: Sequence[str]) -> list[Checked]:
    """Compare the law's choice among some methods with the cheapest, request by request.

    A request that the lines are fitted on is left out of them first; at the ends of what was measured its costs are
    then extrapolated. A request that not all of the methods were measured on, or without which too few runs are left,
    is passed over.

    Args:
        costs: What was measured.
        names: The methods to choose among.
    """
    found = []
    for request, runs in _by_request(costs).items():
        seconds = {run.method: run.busy for run in runs if run.method in names}
        if set(seconds) != set(names):
            continue
        others = tuple(run for run in costs.runs if run not in runs)
        try:
            law = fitted(replace(costs, runs=others))
        except SpecError:
            continue
        found.append(_compared(law, request[1], request[2], seconds))
    return found


def _by_request(costs: MeasuredCosts) -> dict[tuple[int, int, int, int], list[MeasuredRun]]:
    """Runs that forget the same patients, in the order in which they were measured."""
    requests: dict[tuple[int, int, int, int], list[MeasuredRun]] = {}
    for run in costs.runs:
        if run.forgotten:
            key = (run.seed, run.images, run.forgotten, run.draw)
            requests.setdefault(key, []).append(run)
    return requests


def _compared(law: CostLaw, images: int, forgotten: int, seconds: dict[str, float]) -> Checked:
    expected = {name: law.lines[name].estimate(images, forgotten) for name in seconds}
    chosen = min(expected, key=lambda name: expected[name].seconds)
    best = min(seconds, key=lambda name: seconds[name])

    inside = 0
    for name, measured in seconds.items():
        inside += expected[name].low <= measured <= expected[name].high
    excess = seconds[chosen] / seconds[best] - 1
    return Checked(images, forgotten, chosen, best, excess, inside, len(seconds))
