"""The verbs `forgetmi.audit` and `forgetmi.verdict`: from a few models' signals to an answer; no model is run."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.audit.audited_run import AuditedRun
from forgetmi.audit.auditor import audit as audit_runs
from forgetmi.audit.decision import decide
from forgetmi.audit.forget_draw import ForgetDraw, forget_draw
from forgetmi.audit.patient_scores import through
from forgetmi.audit.result import Audit
from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.audit.sets import audited_sets
from forgetmi.audit.verdict import Verdict
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError
from forgetmi.core.model_names import ORIGINAL, UNLEARNED, retrained_name
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.channels import Channel, channels_of

RUN = "called from Python"


def audit(
    *,
    cohort: Cohort,
    partition: Partition,
    original: Signals,
    unlearned: Signals,
    retrained: Sequence[Signals],
    declared: AuditSpec | None = None,
    duplicates: Sequence[NearDuplicate] = (),
    seed: int = 0,
) -> Audit:
    """Audit an unlearned model: verdict, patient by patient, harm to others and every attack.

    Use it where you hold the models' signals; `forgetmi audit RUN` does the same for finished runs, with relearning and
    shadow models where the run has them.

    Args:
        cohort: Whose signals they are.
        partition: Who is in which set.
        original, unlearned: Their signals for the whole cohort.
        retrained: Signals of models trained without the forgotten; three are needed for every control.
        declared: Rule and margins; fix them before you look at any result.
        duplicates: Near-duplicates of what is forgotten; none are searched for here.
        seed: Root seed of resamples, folds and subsamples.

    Raises:
        EvaluationError: The signals are of another cohort.

    Examples:
        >>> from forgetmi.audit.rule import AuditSpec
        >>> signals = forgetmi.predict(prepared=data, model=original)
        >>> found = audit(
        ...     cohort=cohort, partition=sets, original=signals, unlearned=signals, retrained=[signals, signals],
        ...     declared=AuditSpec(attacks=("population",)),
        ... )
        >>> found.outcome  # the original itself: nothing was unlearned, and nothing can be told
        'NOT RESOLVABLE'
    """
    run = _run(partition, original, unlearned, retrained, duplicates)
    return audit_runs([run], cohort=cohort, declared=declared or AuditSpec(), seed=seed)


def verdict(
    *,
    cohort: Cohort,
    partition: Partition,
    original: Signals,
    unlearned: Signals,
    retrained: Sequence[Signals],
    rule: Rule | None = None,
    duplicates: Sequence[NearDuplicate] = (),
    seed: int = 0,
) -> Verdict:
    """The answer alone: FORGOTTEN, NOT FORGOTTEN, OVER-FORGOTTEN or NOT RESOLVABLE, channel by channel.

    Args:
        cohort: Whose signals they are.
        partition: Who is in which set.
        original, unlearned: Their signals for the whole cohort.
        retrained: Signals of models trained without the forgotten.
        rule: The rule of the verdict; fix it before you look at any result.
        duplicates: Near-duplicates of what is forgotten: patients with a copy under a retained one are not judged.
        seed: Root seed of subsamples (the resamples' own is the rule's).

    Examples:
        >>> signals = forgetmi.predict(prepared=data, model=original)
        >>> answer = verdict(
        ...     cohort=cohort, partition=sets, original=signals, unlearned=signals, retrained=[signals, signals]
        ... )
        >>> [channel.channel for channel in answer.channels]
        ['image', 'text', 'both', 'link']
    """
    rule = rule or Rule()
    run = _run(partition, original, unlearned, retrained, ())
    there = channels_of(original)
    draws: dict[Channel, list[ForgetDraw]] = {}

    # Where every patient has a copy there is nothing to judge
    sets = audited_sets(partition, duplicates, names=codes(cohort.patient)[1])
    judged = sets.with_forget(copied=False)
    if judged is None:
        return decide(rule, draws, unproved=partition.unproved, there=there)

    # Each channel that can be measured; the rule counts the others as not resolvable
    knowledge = run.knowledge(judged, seed=seed, task=cohort.task)
    for channel, of_channel in through(knowledge, rule.judged(there)).items():
        try:
            draws[channel] = [forget_draw(of_channel.with_target(UNLEARNED))]
        except EvaluationError:
            continue
    return decide(rule, draws, unproved=partition.unproved, there=there)


def _run(
    partition: Partition,
    original: Signals,
    unlearned: Signals,
    retrained: Sequence[Signals],
    duplicates: Sequence[NearDuplicate],
) -> AuditedRun:
    """The signals under the names that an audit knows."""
    signals = {ORIGINAL: original, UNLEARNED: unlearned}
    for number, of_model in enumerate(retrained):
        signals[retrained_name(number)] = of_model
    return AuditedRun(RUN, partition, signals, duplicates=tuple(duplicates))
