"""Run registered attacks, each on the audited model and, as its reference, on every retrained one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from forgetmi.core import registry
from forgetmi.core.errors import EvaluationError
from forgetmi.core.model_names import retrained_names
from forgetmi.core.scores import Failed
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.attacks.base import Attack, AttackOutput, AttackResult


def run_attack(attack: Attack, knowledge: AdversaryKnowledge) -> AttackResult | Failed:
    """One attack on the audited model, with its reference; see `run_on`.

    Examples:
        >>> from forgetmi.evaluation.attacks.population import Population
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> result = run_attack(Population(), toy_knowledge())
        >>> result.output.value, len(result.reference)
        (1.0, 2)
    """
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
        Each result, or why there is none (something it needs is missing, or it is undefined with this knowledge).
    """
    retrained: list[str] = []
    if attack.info.reference == "retrained":
        retrained = retrained_names(knowledge.signals)

    # Each model is attacked once, whether it is a target, a reference, or both.
    names = dict.fromkeys([*targets, *retrained])
    outputs = {name: _apply(attack, knowledge.with_target(name)) for name in names}

    results: dict[str, AttackResult | Failed] = {}
    for name in targets:
        output = outputs[name]
        if isinstance(output, Failed):
            results[name] = output
            continue

        # A retrained target is not its own reference
        others = [other for other in retrained if other != name]
        reference = _values(outputs, others)
        results[name] = AttackResult(attack.info, name, knowledge.channel, output, reference)
    return results


def _values(
    outputs: Mapping[str, AttackOutput | Failed], names: Iterable[str]
) -> tuple[float, ...]:
    """The attack's values on the named models, without those where it failed."""
    values = []
    for name in names:
        output = outputs[name]
        if isinstance(output, AttackOutput):
            values.append(output.value)
    return tuple(values)


def _apply(attack: Attack, knowledge: AdversaryKnowledge) -> AttackOutput | Failed:
    """The attack's output on the target, or why there is none."""
    # An attack without what it needs is not run
    missing = knowledge.missing(attack.info.needs)
    if missing:
        reason = f"needs {', '.join(missing)}"
        return Failed(attack.info.name, reason, knowledge.channel, "forget")

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

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> for result in run_attacks(toy_knowledge(memory=0.0), ["population", "scrub"]):
        ...     print(result.info.title, round(result.output.value, 2))
        Population attack 0.49
        SCRUB's membership attack 0.5
    """
    chosen = registry.attacks.names() if names is None else sorted(names)
    attacks = [registry.attacks.get(name)() for name in chosen]
    return tuple(run_attack(attack, knowledge) for attack in attacks)
