"""From measured differences to a verdict, by a rule that is fixed before anything is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
from scipy.stats import norm

from forgetmi.audit import statements
from forgetmi.audit.delta import Deltas, deltas
from forgetmi.audit.forget_draw import ForgetDraw
from forgetmi.audit.rule import Rule
from forgetmi.audit.verdict import ChannelVerdict, Outcome, Verdict
from forgetmi.core.errors import EvaluationError
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.channels import TODAYS_CHANNELS, Channel
from forgetmi.evaluation.patients import permutation_test

FEW = 20  # forgotten patients below which a permutation test is made in addition


def decide(
    rule: Rule,
    draws: Mapping[Channel, Sequence[ForgetDraw]],
    *,
    unproved: str = "",
    there: Sequence[Channel] = TODAYS_CHANNELS,
) -> Verdict:
    """Apply the rule.

    NOT FORGOTTEN: on some channel the unlearned model separates forgotten from never-seen patients more than retrained
    models do, after Holm's correction. OVER-FORGOTTEN: less, or the accuracy on forgotten images is below retraining's
    by the margin and its interval below 0. FORGOTTEN: on every channel the interval of the difference lies within
    +-margin (no correction needed), and the original did show memory of these patients on some channel (Holm, again).
    Otherwise NOT RESOLVABLE. The first that applies, in this order. Where it is not known whom the original was trained
    on, nobody can be called never seen, and nothing is resolvable.

    Args:
        rule: Fixed beforehand.
        draws: Channel to one or more forget draws, pooled; a channel without is not measurable.
        there: Every channel of the model; the rule says which of them it judges.
        unproved: Why it is not known whom the original was trained on; empty = it is known.
    """
    channels = rule.judged(there)
    measured, unmeasured = _measure(rule, draws, channels)
    tests = len(channels)

    # Holm's correction over the channels, for each of the three questions
    remembered = holm(_p_above(measured), tests)
    over_forgotten = holm(_p_below(measured), tests)
    in_original = holm(_p_above_original(measured), tests)

    # Channels on which the original remembers the patients
    tail = (1 - rule.level) / 2
    memory: list[Channel] = [channel for channel in measured if in_original[channel] <= tail]

    # Each channel by itself
    judged: list[ChannelVerdict] = []
    for channel in channels:
        if channel in unmeasured:
            judged.append(ChannelVerdict(channel, "NOT RESOLVABLE", unmeasured[channel]))
            continue

        outcome, reason = _judge(
            rule, measured[channel], remembered[channel], over_forgotten[channel]
        )
        judged.append(
            ChannelVerdict(
                channel=channel,
                outcome=outcome,
                reason=reason,
                deltas=measured[channel],
                remembered=remembered[channel],
                over_forgotten=over_forgotten[channel],
                permutation=_permutation(draws[channel], rule.seed),
            )
        )

    # All channels have the same draws, save for those that cannot be measured
    pooled = max(draws.values(), key=len, default=())
    forgotten = sum(draw.members for draw in pooled)

    verdict = Verdict(
        outcome=_overall([channel.outcome for channel in judged], bool(memory)),
        channels=tuple(judged),
        rule=rule.digest,
        forgotten=forgotten,
        never_seen=_never_seen(pooled),
        draws=len(pooled),
        statements=_statements(rule, measured, memory, forgotten, there),
    )
    return _refused(verdict, unproved) if unproved else verdict


def _refused(verdict: Verdict, reason: str) -> Verdict:
    """The same measurements without an answer."""
    channels = [
        replace(channel, outcome="NOT RESOLVABLE", reason=statements.no_verdict(reason))
        for channel in verdict.channels
    ]
    return replace(
        verdict,
        outcome="NOT RESOLVABLE",
        channels=tuple(channels),
        statements=(statements.refused(reason), *verdict.statements),
    )


def holm(p: Mapping[Channel, float], tests: int) -> dict[Channel, float]:
    """Step-down adjusted p-values (Holm 1979).

    Args:
        p: p-values.
        tests: Size of the family, >= len(p): what could not be measured still counts.
    """
    # The smallest p-value is multiplied by all tests, the next by one fewer
    adjusted: dict[Channel, float] = {}
    largest = 0.0
    for rank, channel in enumerate(sorted(p, key=lambda name: p[name])):
        largest = max(largest, min(1.0, (tests - rank) * p[channel]))
        adjusted[channel] = largest
    return adjusted


def detectable_auc(
    forgotten: float, never_seen: float, *, level: float = 0.95, power: float = 0.80
) -> float:
    """The smallest AUC that a two-sided test of this level tells from 0.5 with this power.

    Normal approximation with the null variance (n + m + 1) / (12 n m) (Mann and Whitney 1947).

    Args:
        forgotten, never_seen: Patients a side; an effective number where they are weighted.
        level: Confidence.
        power: Probability to find it.

    Returns:
        0.5..1; 1 = nothing can be told.
    """
    # Standard error of the AUC when nothing separates the groups
    error = sqrt((forgotten + never_seen + 1) / (12 * forgotten * never_seen))
    return min(1.0, 0.5 + float(norm.ppf((1 + level) / 2) + norm.ppf(power)) * error)


def _measure(
    rule: Rule, draws: Mapping[Channel, Sequence[ForgetDraw]], channels: Sequence[Channel]
) -> tuple[dict[Channel, Deltas], dict[Channel, str]]:
    """Differences of each channel, and why the others cannot be measured."""
    measured: dict[Channel, Deltas] = {}
    unmeasured: dict[Channel, str] = {}

    for channel in channels:
        try:
            measured[channel] = deltas(
                draws.get(channel, ()), level=rule.level, resamples=rule.resamples, seed=rule.seed
            )
        except EvaluationError as error:
            unmeasured[channel] = str(error)

    return measured, unmeasured


def _p_above(measured: Mapping[Channel, Deltas]) -> dict[Channel, float]:
    return {channel: result.unlearned.p_above for channel, result in measured.items()}


def _p_below(measured: Mapping[Channel, Deltas]) -> dict[Channel, float]:
    return {channel: result.unlearned.p_below for channel, result in measured.items()}


def _p_above_original(measured: Mapping[Channel, Deltas]) -> dict[Channel, float]:
    return {channel: result.original.p_above for channel, result in measured.items()}


def _judge(
    rule: Rule, measured: Deltas, remembered: float, over_forgotten: float
) -> tuple[Outcome, str]:
    """Outcome and reason of one channel, from its differences and corrected p-values."""
    tail = (1 - rule.level) / 2
    change = measured.unlearned

    # Separability of forgotten and never-seen patients
    if remembered <= tail:
        return "NOT FORGOTTEN", statements.more_separable(change)
    if over_forgotten <= tail:
        return "OVER-FORGOTTEN", statements.less_separable(change)

    # Accuracy on forgotten images
    loss = measured.performance
    if loss is not None and loss.value <= -rule.forget_margin and loss.high < 0:
        return "OVER-FORGOTTEN", statements.less_accurate(loss)

    # Equivalence to retraining
    if -rule.margin < change.low and change.high < rule.margin:
        return "FORGOTTEN", statements.equivalent(rule, change)
    return "NOT RESOLVABLE", statements.too_wide(change)


def _overall(outcomes: Sequence[Outcome], memory: bool) -> Outcome:
    """The outcome over all channels."""
    if "NOT FORGOTTEN" in outcomes:
        return "NOT FORGOTTEN"
    if "OVER-FORGOTTEN" in outcomes:
        return "OVER-FORGOTTEN"

    # Without memory in the original there was nothing to forget
    if memory and set(outcomes) == {"FORGOTTEN"}:
        return "FORGOTTEN"
    return "NOT RESOLVABLE"


def _permutation(draws: Sequence[ForgetDraw], seed: int) -> float | None:
    """The largest p-value of a permutation test over the draws; None where there are enough patients."""
    if sum(draw.members for draw in draws) >= FEW:
        return None

    # Draw by draw: study counts differ between them
    p_values = []
    for index, draw in enumerate(draws):
        p_values.append(
            permutation_test(
                signal=draw.unlearned,
                forgotten=np.arange(len(draw.patient)) < draw.members,
                studies=draw.studies,
                generator=numpy_generator(seed, "verdict", "permutation", index),
            )
        )
    return max(p_values)


def _never_seen(draws: Sequence[ForgetDraw]) -> int:
    """Distinct never-seen patients over all draws."""
    if not draws:
        return 0
    codes = np.concatenate([draw.patient[draw.members :] for draw in draws])
    return len(np.unique(codes))


def _statements(
    rule: Rule,
    measured: Mapping[Channel, Deltas],
    memory: Sequence[Channel],
    forgotten: int,
    there: Sequence[Channel],
) -> tuple[str, ...]:
    """What the data could show at all, and in what the rule asks for less than the default one."""
    if not measured:
        return (statements.UNVERIFIABLE, *statements.loose_rule(rule, there))

    # Power, from the channel with the fewest effective never-seen patients
    effective = min(result.effective for result in measured.values())
    detectable = detectable_auc(forgotten, effective, level=rule.level, power=rule.power)

    # The widest interval
    half_widths = []
    for result in measured.values():
        half_widths.append((result.unlearned.high - result.unlearned.low) / 2)

    silent: list[Channel] = [channel for channel in measured if channel not in memory]
    return (
        statements.power(forgotten, effective, detectable),
        *statements.width(rule, max(half_widths)),
        *statements.memory(silent, any_memory=bool(memory)),
        *statements.loose_rule(rule, there),
    )
