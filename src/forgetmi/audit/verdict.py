"""The verdict: forgotten, not forgotten, over-forgotten, or not resolvable, by a rule fixed before anything is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from scipy.stats import norm

from forgetmi.audit.delta import DeltaEstimate, Deltas, deltas
from forgetmi.audit.forget_draw import ForgetDraw
from forgetmi.audit.rule import Rule
from forgetmi.core.errors import EvaluationError
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.channels import CHANNELS, Channel
from forgetmi.evaluation.patients import permutation_test

Outcome = Literal["FORGOTTEN", "NOT FORGOTTEN", "OVER-FORGOTTEN", "NOT RESOLVABLE"]
FEW = 20  # forgotten patients below which a permutation test stands beside the interval


@dataclass(frozen=True)
class ChannelVerdict:
    """One channel.

    Args:
        channel: Which.
        outcome: By the rule, with this channel's corrected p-values.
        reason: In words.
        deltas: What was measured; None where nothing could be.
        remembered, over_forgotten: One-sided p-values after Holm's correction over the channels.
        permutation: Largest p-value over the draws of "forgotten and never-seen patients are exchangeable" under the
            unlearned model; None with 20 or more forgotten patients.
    """

    channel: Channel
    outcome: Outcome
    reason: str
    deltas: Deltas | None = None
    remembered: float | None = None
    over_forgotten: float | None = None
    permutation: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Args:
        outcome: Overall.
        channels: Channel by channel, in the rule's order.
        rule: Digest of the rule.
        forgotten, never_seen: Patients, the latter distinct over all draws.
        draws: Forget draws pooled.
        statements: Sentences on what the data could show at all; part of every report of the outcome.
    """

    outcome: Outcome
    channels: tuple[ChannelVerdict, ...]
    rule: str
    forgotten: int
    never_seen: int
    draws: int
    statements: tuple[str, ...]


def decide(rule: Rule, draws: Mapping[Channel, Sequence[ForgetDraw]]) -> Verdict:
    """Apply the rule.

    NOT FORGOTTEN: on some channel the unlearned model separates forgotten from never-seen patients more than retrained
    models do, after Holm's correction. OVER-FORGOTTEN: less, or the accuracy on forgotten images is below retraining's
    by the margin and its interval below 0. FORGOTTEN: on every channel the interval of the difference lies within
    +-margin (no correction needed), and the original did show memory of these patients on some channel (Holm, again).
    Otherwise NOT RESOLVABLE. The first that applies, in this order.

    Args:
        rule: Fixed beforehand.
        draws: Channel to one or more forget draws, pooled; a channel without is not measurable.
    """
    found: dict[Channel, Deltas | str] = {}
    for channel in rule.channels:
        try:
            found[channel] = deltas(
                draws.get(channel, ()), level=rule.level, resamples=rule.resamples, seed=rule.seed
            )
        except EvaluationError as error:
            found[channel] = str(error)
    measured: dict[Channel, Deltas] = {
        channel: one for channel, one in found.items() if isinstance(one, Deltas)
    }
    above: dict[Channel, float] = {
        channel: one.unlearned.p_above for channel, one in measured.items()
    }
    below: dict[Channel, float] = {
        channel: one.unlearned.p_below for channel, one in measured.items()
    }
    remembered, over = holm(above, len(rule.channels)), holm(below, len(rule.channels))
    known = holm(
        {channel: one.original.p_above for channel, one in measured.items()}, len(rule.channels)
    )
    memory: list[Channel] = [
        channel for channel in measured if known[channel] <= (1 - rule.level) / 2
    ]
    judged: list[ChannelVerdict] = []
    for channel, one in found.items():
        if isinstance(one, str):
            judged.append(ChannelVerdict(channel, "NOT RESOLVABLE", one))
            continue
        outcome, reason = _judge(rule, one, remembered[channel], over[channel])
        judged.append(
            ChannelVerdict(
                channel,
                outcome,
                reason,
                one,
                remembered[channel],
                over[channel],
                _permutation(draws[channel], rule.seed),
            )
        )
    one_channel = max(draws.values(), key=len, default=())
    forgotten = sum(one.members for one in one_channel)
    never_seen = (
        len(np.unique(np.concatenate([one.patient[one.members :] for one in one_channel])))
        if one_channel
        else 0
    )
    return Verdict(
        _overall([one.outcome for one in judged], bool(memory)),
        tuple(judged),
        rule.digest,
        forgotten,
        never_seen,
        len(one_channel),
        _statements(rule, measured, memory, forgotten),
    )


def _overall(outcomes: Sequence[Outcome], memory: bool) -> Outcome:
    if "NOT FORGOTTEN" in outcomes:
        return "NOT FORGOTTEN"
    if "OVER-FORGOTTEN" in outcomes:
        return "OVER-FORGOTTEN"
    return "FORGOTTEN" if memory and set(outcomes) == {"FORGOTTEN"} else "NOT RESOLVABLE"


def holm(p: Mapping[Channel, float], tests: int) -> dict[Channel, float]:
    """Step-down adjusted p-values (Holm 1979).

    Args:
        p: p-values.
        tests: Size of the family, >= len(p): what could not be measured still counts.
    """
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
    error = sqrt((forgotten + never_seen + 1) / (12 * forgotten * never_seen))
    return min(1.0, 0.5 + float(norm.ppf((1 + level) / 2) + norm.ppf(power)) * error)


def _judge(rule: Rule, one: Deltas, remembered: float, over: float) -> tuple[Outcome, str]:
    tail, change = (1 - rule.level) / 2, _words(one.unlearned)
    if remembered <= tail:
        return "NOT FORGOTTEN", f"more separable than under retraining: {change}"
    if over <= tail:
        return "OVER-FORGOTTEN", f"less separable than under retraining: {change}"
    loss = one.performance
    if loss is not None and loss.value <= -rule.forget_margin and loss.high < 0:
        return "OVER-FORGOTTEN", f"accuracy on forgotten images below retraining's: {_words(loss)}"
    if -rule.margin < one.unlearned.low and one.unlearned.high < rule.margin:
        return "FORGOTTEN", f"within {rule.margin:g} of retraining: {change}"
    return "NOT RESOLVABLE", f"the interval is too wide to tell: {change}"


def _words(one: DeltaEstimate) -> str:
    return f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def _permutation(draws: Sequence[ForgetDraw], seed: int) -> float | None:
    if sum(one.members for one in draws) >= FEW:
        return None
    return max(
        permutation_test(
            signal=one.unlearned,
            forgotten=np.arange(len(one.patient)) < one.members,
            studies=one.studies,
            generator=numpy_generator(seed, "verdict", "permutation", at),
        )
        for at, one in enumerate(draws)
    )


def _statements(
    rule: Rule,
    measured: Mapping[Channel, Deltas],
    memory: list[Channel],
    forgotten: int,
) -> tuple[str, ...]:
    loose = _loose(rule)
    if not measured:
        return (
            "Nothing could be measured against retrained models: whether these patients were forgotten is "
            "unverifiable.",
            *loose,
        )
    effective = min(one.effective for one in measured.values())
    auc = detectable_auc(forgotten, effective, level=rule.level, power=rule.power)
    half = max((one.unlearned.high - one.unlearned.low) / 2 for one in measured.values())
    said = [
        f"With {forgotten} forgotten patients and never-seen ones worth {effective:.0f}, an AUC below {auc:.2f} "
        "cannot be told from 0.5."
    ]
    if half >= rule.margin:
        said.append(
            f"The intervals reach up to {half:.2f} to either side, the margin is {rule.margin:g}: FORGOTTEN "
            "could not have been shown. More forgotten patients (several disjoint forget draws) narrow them."
        )
    if not memory:
        said.append("The original shows no memory of these patients, so there was nothing to test.")
    elif len(memory) < len(measured):
        silent = ", ".join(channel for channel in measured if channel not in memory)
        said.append(
            f"The original shows no memory of these patients on: {silent}; nothing was tested there."
        )
    return (*said, *loose)


def _loose(rule: Rule) -> list[str]:
    """In what the declared rule asks for less than the default one."""
    said = [
        f"The rule allows a difference up to {margin:g} in {what}, more than the {usual:g} of the default rule."
        for what, margin, usual in (
            ("AUC", rule.margin, Rule.margin),
            ("accuracy on forgotten images", rule.forget_margin, Rule.forget_margin),
        )
        if margin > usual
    ]
    if left_out := [channel for channel in CHANNELS if channel not in rule.channels]:
        said.append(
            f"The rule does not judge: {', '.join(left_out)}. What can be told there is no part of the "
            "verdict."
        )
    if rule.level < Rule.level:
        said.append(
            f"The rule's confidence is {rule.level:g}, less than the {Rule.level:g} of the default rule."
        )
    return said
