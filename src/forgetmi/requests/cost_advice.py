"""Which method is the cheapest that a declared policy allows, by the cost law and by the verdicts so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgetmi.evidence.record import Record
from forgetmi.requests.cost_law import RETRAIN, CostLaw, MeasuredMethod
from forgetmi.requests.cost_line import Estimate
from forgetmi.requests.policy import Policy

_FORGOTTEN = "FORGOTTEN"


@dataclass(frozen=True)
class Choice:
    """One method for a batch of requests.

    Args:
        method: Its name.
        cost: What the batch costs by it; None = it was not measured for such a batch.
        why_not: Why it is not to be chosen, in words; "" = it may be.
    """

    method: str
    cost: Estimate | None
    why_not: str


@dataclass(frozen=True)
class CostAdvice:
    """All methods of a cost law for a batch of requests.

    Args:
        choices: Those that may be chosen first, each part the cheapest first.
        scale: What the law's seconds were multiplied by; 1 = they are those of its own machine and model.
        retraining: What one retraining costs, likewise.
    """

    choices: tuple[Choice, ...]
    scale: float
    retraining: Estimate

    @property
    def cheapest(self) -> Choice | None:
        """The cheapest that may be chosen; None where none may."""
        first = self.choices[0]
        return None if first.why_not else first

    def as_cheap(self) -> list[Choice]:
        """Others that may be chosen and that cannot be told from the cheapest: their intervals overlap."""
        best = self.cheapest
        if best is None or best.cost is None:
            return []
        found = []
        for choice in self.choices[1:]:
            overlaps = choice.cost is not None and choice.cost.low <= best.cost.high
            if not choice.why_not and overlaps:
                found.append(choice)
        return found


def choose(
    law: CostLaw,
    records: Sequence[Record],
    *,
    patients: int,
    images: int,
    forgotten: int,
    policy: Policy | None = None,
    exact: bool = False,
    retraining: float | None = None,
) -> CostAdvice:
    """Compare the methods of a cost law for one batch of requests.

    A method may be chosen if it is exact; or if there are records of runs of it, with the options that were measured,
    and the verdict of each is FORGOTTEN or one that the policy accepts for a batch of this size.

    Args:
        law: The cost law.
        records: Of finished runs.
        patients: Patients of the batch.
        images: Images that the model in service was trained on.
        forgotten: Images of the batch.
        policy: Which other verdicts are acceptable; None = none.
        exact: Whether only exact methods may be chosen.
        retraining: CPU seconds of a retraining on these data, to which all are scaled; None = they are not.
    """
    whole = law.lines[RETRAIN].estimate(images, 0)
    scale = 1.0 if retraining is None else retraining / whole.seconds

    choices = []
    for method in law.costs.methods:
        line = law.lines[method.name]
        outside = line.outside(images, 0 if method.name == RETRAIN else forgotten)
        why_not = outside or _not_allowed(method, records, policy, patients)
        if exact and not method.exact:
            why_not = why_not or "it is approximate"
        cost = None if outside else line.estimate(images, forgotten).times(scale)
        choices.append(Choice(method.name, cost, why_not))
    choices.sort(key=_by_cost)
    return CostAdvice(tuple(choices), scale, whole.times(scale))


def _not_allowed(
    method: MeasuredMethod, records: Sequence[Record], policy: Policy | None, patients: int
) -> str:
    """Why the verdicts so far do not allow a method; "" = they do."""
    if method.exact:
        return ""

    runs = [one for one in records if one.method.kind == method.name]
    alike = [one for one in runs if _same(one.method.options, method.options)]
    if not alike:
        with_others = f" with these options ({len(runs)} with others)" if runs else ""
        return f"no verdict on it{with_others}"

    # Every verdict counts: one that was refused may come again
    for record in alike:
        why = _refused(record, policy, patients)
        if why:
            return why
    return ""


def _refused(record: Record, policy: Policy | None, patients: int) -> str:
    """Why a batch could not be closed with the verdict of a record; "" = it could."""
    if record.decision.outcome == _FORGOTTEN:
        return ""
    if policy is None:
        return f"a verdict on it is {record.decision.outcome}"

    why = policy.why_not(record)
    most = policy.when.at_most_patients
    if not why and most is not None and patients > most:
        why = f"it holds for at most {most} patients, and the batch has {patients}"
    return f"the policy: {why}" if why else ""


def _same(options: Mapping[str, Any], measured: Mapping[str, Any]) -> bool:
    """Whether two sets of options are alike; lists and tuples are."""

    def plain(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    return plain(options) == plain(measured)


def _by_cost(choice: Choice) -> tuple[bool, float]:
    """What may be chosen first, then by seconds."""
    seconds = float("inf") if choice.cost is None else choice.cost.seconds
    return bool(choice.why_not), seconds
