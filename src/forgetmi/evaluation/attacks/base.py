"""What every attack declares and returns, so that a report can list and compare all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from forgetmi.core.arrays import Floats
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Need

Direction = Literal["higher", "lower", "apart"]
Reference = Literal["retrained", "theory"]


@dataclass(frozen=True)
class AttackInfo:
    """What an attack is.

    Args:
        name: Registered name.
        title: Name as the field writes it.
        source: Authors, venue, year.
        measures: What its value is, in words, e.g. "AUC of forgotten against never-seen patients".
        direction: Whether a higher or a lower value means that more is remembered; "apart" = it measures how unlike
            retraining the model is, in either direction.
        reference: What the value is compared with: the same attack on retrained models, or a value from theory.
        forgotten: The value of perfect forgetting in theory; only where patients are exchangeable. None = unknown.
        needs: What the adversary must know.
    """

    name: str
    title: str
    source: str
    measures: str
    direction: Direction
    reference: Reference
    forgotten: float | None
    needs: frozenset[Need]


@dataclass(frozen=True, eq=False)
class AttackOutput:
    """The result of one attack on one model, through one channel.

    Args:
        value: The number that `AttackInfo.measures` names.
        counts: How many are in each group.
        unit: What is counted.
        interval: 95 % interval of the value, where it has one.
        bound: Set when the value is only known to be at least, or at most, this (a censored relearn time).
        details: Further numbers by name.
        scores: Group name to Float[count]: per-patient scores, larger = more like a member; for curves and plots.
        note: What the reader must know about this number.
    """

    value: float
    counts: Mapping[str, int]
    unit: Literal["patients", "images", "models"] = "patients"
    interval: tuple[float, float] | None = None
    bound: Literal["", "at least", "at most"] = ""
    details: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Floats] = field(default_factory=dict)
    note: str = ""


class Attack(Protocol):
    """An attack: a frozen dataclass of its options, registered under the entry-point group ``forgetmi.attacks``."""

    info: ClassVar[AttackInfo]

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """Attack the audited model (`AdversaryKnowledge.target`).

        Args:
            knowledge: What the adversary knows; holds at least what `AttackInfo.needs` lists.

        Raises:
            EvaluationError: The attack is undefined with this knowledge.
        """
        ...


@dataclass(frozen=True, eq=False)
class AttackResult:
    """One row of the audit.

    Args:
        info: The attack.
        target: Name of the attacked model.
        channel: The channel.
        output: The attack's result on that model.
        reference: The attack's value on each retrained model, without the target itself; empty where theory is the
            reference or there is no other retrained model.
    """

    info: AttackInfo
    target: str
    channel: str
    output: AttackOutput
    reference: tuple[float, ...] = ()
