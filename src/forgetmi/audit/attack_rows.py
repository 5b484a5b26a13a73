"""The audit's table of attacks: every registered attack on every model through every channel, or why there is none."""

from __future__ import annotations

from math import isfinite

from forgetmi.audit.patient_scores import through
from forgetmi.audit.rows import AttackMissing, AttackRow
from forgetmi.audit.rule import AuditSpec
from forgetmi.core import registry
from forgetmi.core.arrays import Floats
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_names
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import Attack, AttackResult
from forgetmi.evaluation.attacks.run import run_on
from forgetmi.evaluation.attacks.worst_finding import WorstFinding
from forgetmi.evaluation.channels import Channel, channels_of
from forgetmi.evaluation.finding_measures import FindingMeasures


def attack_rows(
    knowledge: AdversaryKnowledge, declared: AuditSpec, draw: int
) -> tuple[list[AttackRow], list[AttackMissing]]:
    """Make the declared attacks on the unlearned, the original and every retrained model.

    Args:
        knowledge: One forget set.
        declared: Which attacks; none given = all.
        draw: Which forget set.

    Returns:
        The results, and the attacks that were not made.
    """
    rows: list[AttackRow] = []
    missing: list[AttackMissing] = []

    # The unlearned model first: a reader looks for it
    targets = [UNLEARNED, ORIGINAL, *retrained_names(knowledge.signals)]

    channels = channels_of(knowledge.signals[ORIGINAL])

    for name, attack in _attacks(knowledge, declared).items():
        title = attack.info.title

        # Attacks whose needs the run does not meet
        lacking = knowledge.missing(attack.info.needs)
        if lacking:
            missing.append(AttackMissing(draw, name, title, "", f"needs {', '.join(lacking)}"))
            continue

        # Every model through every channel; a channel that is undefined is a missing attack
        for channel, of_channel in through(knowledge, channels).items():
            for model, result in run_on(attack, of_channel, targets).items():
                if isinstance(result, AttackResult):
                    rows.append(_row(result, channel, draw))
                elif model == UNLEARNED:
                    missing.append(AttackMissing(draw, name, title, channel, result.reason))

    return rows, missing


def _attacks(knowledge: AdversaryKnowledge, declared: AuditSpec) -> dict[str, Attack]:
    """The declared attacks by name; where the labels are findings, the most telling finding is always asked for."""
    names = declared.attacks or registry.attacks.names()
    attacks: dict[str, Attack] = {name: registry.attacks.get(name)() for name in names}
    if knowledge.task == FindingMeasures.name:
        attacks[WorstFinding.info.name] = WorstFinding()
    return attacks


def rounded(values: Floats) -> tuple[float, ...]:
    """Values as a record stores them."""
    return tuple(round(float(value), 6) for value in values)


def _row(result: AttackResult, channel: Channel, draw: int) -> AttackRow:
    info = result.info
    measured = result.output

    # JSON holds no infinity and no NaN
    details = {}
    for name, value in measured.details.items():
        if isfinite(value):
            details[name] = float(value)

    return AttackRow(
        draw=draw,
        model=result.target,
        channel=channel,
        name=info.name,
        title=info.title,
        source=info.source,
        measures=info.measures,
        direction=info.direction,
        reference=info.reference,
        forgotten=info.forgotten,
        value=float(measured.value),
        interval=measured.interval,
        bound=measured.bound,
        unit=measured.unit,
        counts={name: int(count) for name, count in measured.counts.items()},
        details=details,
        scores={name: rounded(values) for name, values in measured.scores.items()},
        retrained=tuple(float(value) for value in result.reference),
        note=measured.note,
    )
