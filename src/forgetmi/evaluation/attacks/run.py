"""Run registered attacks, each on the audited model and, as its reference, on every retrained one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forgetmi.core import registry
from forgetmi.core.errors import EvaluationError
from forgetmi.core.model_names import retrained_names
from forgetmi.core.scores import Failed
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import Attack, AttackResult, Found


def run_attack(attack: Attack, knowledge: AdversaryKnowledge) -> AttackResult | Failed:
    """One attack on the audited model, with its reference; see `run_on`."""
    return run_on(attack, knowledge, (knowledge.target,))[knowledge.target]


def run_on(
    attack: Attack, knowledge: AdversaryKnowledge, targets: Sequence[str]
) -> dict[str, AttackResult | Failed]:
    """One attack on several models; each is attacked once, also where it is another one's reference.

    Args:
        attack: The attack.
        knowledge: Aimed at any model.
        targets: Names of the attacked models.

    Returns:
        Each result, or why there is none (something it needs is missing, or it is undefined on this evidence).
    """
    retrained = retrained_names(knowledge.signals)
    names = dict.fromkeys([*targets, *(retrained if attack.info.reference == "retrained" else ())])
    found = {name: _apply(attack, knowledge.aimed_at(name)) for name in names}

    def result(name: str) -> AttackResult | Failed:
        own = found[name]
        if isinstance(own, Failed):
            return own
        others = [found[other] for other in retrained if other != name and other in found]
        return AttackResult(
            attack.info,
            name,
            knowledge.channel,
            own,
            tuple(one.value for one in others if isinstance(one, Found))
            if attack.info.reference == "retrained"
            else (),
        )

    return {name: result(name) for name in targets}


def _apply(attack: Attack, knowledge: AdversaryKnowledge) -> Found | Failed:
    missing = knowledge.lacks(attack.info.needs)
    if missing:
        return Failed(attack.info.name, f"needs {', '.join(missing)}", knowledge.channel, "forget")
    try:
        return attack.apply(knowledge)
    except EvaluationError as error:
        return Failed(attack.info.name, str(error), knowledge.channel, "forget")


def run_attacks(
    knowledge: AdversaryKnowledge, names: Iterable[str] | None = None
) -> tuple[AttackResult | Failed, ...]:
    """Every registered attack with its default options, or those named, in alphabetical order.

    Raises:
        SpecError: A name is not registered.
    """
    chosen = registry.attacks.names() if names is None else sorted(names)
    return tuple(run_attack(registry.attacks.get(name)(), knowledge) for name in chosen)
