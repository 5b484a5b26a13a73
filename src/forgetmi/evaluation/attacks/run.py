"""Run registered attacks, each on the audited model and, as its reference, on every retrained one."""

from __future__ import annotations

from collections.abc import Iterable

from forgetmi import registry
from forgetmi.errors import EvaluationError
from forgetmi.evaluation.attacks.base import Attack, AttackResult, Found
from forgetmi.evaluation.attacks.evidence import Evidence
from forgetmi.types import Failed


def run_attack(attack: Attack, evidence: Evidence) -> AttackResult | Failed:
    """One attack with its reference.

    Returns:
        The result, or why there is none (something it needs is missing, or it is undefined on this evidence).
    """
    info = attack.info
    found = _apply(attack, evidence)
    if isinstance(found, Failed):
        return found
    others = sorted(filter(evidence.is_other_retrain, evidence.signals))
    retrained = [_apply(attack, evidence.aimed_at(name)) for name in (others if info.reference == "retrained" else ())]
    return AttackResult(info, evidence.target, evidence.channel, found,
                        tuple(one.value for one in retrained if isinstance(one, Found)))


def _apply(attack: Attack, evidence: Evidence) -> Found | Failed:
    missing = evidence.lacks(attack.info.needs)
    if missing:
        return Failed(attack.info.name, f"needs {', '.join(missing)}", evidence.channel, "forget")
    try:
        return attack.apply(evidence)
    except EvaluationError as error:
        return Failed(attack.info.name, str(error), evidence.channel, "forget")


def run_attacks(evidence: Evidence, names: Iterable[str] | None = None) -> tuple[AttackResult | Failed, ...]:
    """Every registered attack with its default options, or those named, in alphabetical order.

    Raises:
        SpecError: A name is not registered.
    """
    chosen = registry.attacks.names() if names is None else sorted(names)
    return tuple(run_attack(registry.attacks.get(name)(), evidence) for name in chosen)
