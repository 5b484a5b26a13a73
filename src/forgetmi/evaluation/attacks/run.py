"""Run registered attacks, each on the audited model and, as its reference, on every retrained one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forgetmi.core import registry
from forgetmi.core.errors import EvaluationError
from forgetmi.core.types import Failed
from forgetmi.evaluation.attacks.adversary import RETRAIN, Evidence
from forgetmi.evaluation.attacks.base import Attack, AttackResult, Found


def run_attack(attack: Attack, evidence: Evidence) -> AttackResult | Failed:
    """One attack on the audited model, with its reference; see `run_on`."""
    return run_on(attack, evidence, (evidence.target,))[evidence.target]


def run_on(
    attack: Attack, evidence: Evidence, targets: Sequence[str]
) -> dict[str, AttackResult | Failed]:
    """One attack on several models; each is attacked once, also where it is another one's reference.

    Args:
        attack: The attack.
        evidence: Aimed at any model.
        targets: Names of the attacked models.

    Returns:
        Each result, or why there is none (something it needs is missing, or it is undefined on this evidence).
    """
    retrained = sorted(filter(RETRAIN.fullmatch, evidence.signals), key=lambda name: int(name[8:]))
    names = dict.fromkeys([*targets, *(retrained if attack.info.reference == "retrained" else ())])
    found = {name: _apply(attack, evidence.aimed_at(name)) for name in names}

    def result(name: str) -> AttackResult | Failed:
        own = found[name]
        if isinstance(own, Failed):
            return own
        others = [found[other] for other in retrained if other != name and other in found]
        return AttackResult(
            attack.info,
            name,
            evidence.channel,
            own,
            tuple(one.value for one in others if isinstance(one, Found))
            if attack.info.reference == "retrained"
            else (),
        )

    return {name: result(name) for name in targets}


def _apply(attack: Attack, evidence: Evidence) -> Found | Failed:
    missing = evidence.lacks(attack.info.needs)
    if missing:
        return Failed(attack.info.name, f"needs {', '.join(missing)}", evidence.channel, "forget")
    try:
        return attack.apply(evidence)
    except EvaluationError as error:
        return Failed(attack.info.name, str(error), evidence.channel, "forget")


def run_attacks(
    evidence: Evidence, names: Iterable[str] | None = None
) -> tuple[AttackResult | Failed, ...]:
    """Every registered attack with its default options, or those named, in alphabetical order.

    Raises:
        SpecError: A name is not registered.
    """
    chosen = registry.attacks.names() if names is None else sorted(names)
    return tuple(run_attack(registry.attacks.get(name)(), evidence) for name in chosen)
