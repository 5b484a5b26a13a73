"""What the first screen says below the answer: whether all views agree, what was expected, and what came out."""

from __future__ import annotations

from forgetmi.audit.delta import DeltaEstimate
from forgetmi.audit.expectation import expectation, sentences
from forgetmi.audit.result import Audit
from forgetmi.core.model_names import is_retrained
from forgetmi.report.channel_words import channel_name, short_channel
from forgetmi.report.content import ReportFacts
from forgetmi.report.number_text import many, plain
from forgetmi.report.verdict_text import estimate


def agreement(audit: Audit) -> str:
    """One sentence where all channels have the same outcome; "" where they differ, and a table is needed."""
    judged = audit.verdict.channels
    if len({channel.outcome for channel in judged}) != 1:
        return ""

    # Those that were measured, and how far from retraining they are
    outcome = judged[0].outcome
    measured = {
        short_channel(channel.channel).lower(): channel.deltas.unlearned
        for channel in judged
        if channel.deltas is not None
    }
    lines = []
    if measured:
        widest = max(measured.values(), key=_half_width)
        lines.append(
            f"All views agree ({', '.join(measured)}): {outcome}. The widest interval of the difference to retraining "
            f"is {estimate(widest)}; up to ±{plain(audit.declared.rule.margin)} counts as none."
        )

    # A channel without measurement is not resolvable
    for channel in judged:
        if channel.deltas is None:
            name = channel_name(channel.channel)
            lines.append(f"{name}: not measured, hence {outcome} ({channel.reason}).")
    return " ".join(lines)


def expected(facts: ReportFacts) -> str:
    """What the audit could show at best, known before anything was measured; "" without an audit.

    The same function says it before a run, from the number of patients and models and the rule alone.
    """
    if facts.expected or facts.audit is None:
        return " ".join(facts.expected)

    # Never-seen patients as the verdict weighted them
    verdict = facts.audit.verdict
    effective = [one.deltas.effective for one in verdict.channels if one.deltas is not None]
    beforehand = expectation(
        patients=verdict.forgotten,
        never_seen=min(effective, default=verdict.never_seen),
        retrained=_references(facts.audit),
        rule=facts.audit.declared.rule,
    )
    return " ".join(sentences(beforehand))


def came_out(audit: Audit) -> str:
    """What the audit could tell in the end, to be read beside what was expected beforehand."""
    measured = [
        channel.deltas.unlearned for channel in audit.verdict.channels if channel.deltas is not None
    ]
    if not measured:
        return "Nothing could be measured against retrained models."

    # The narrowest and the widest
    half_widths = [_half_width(change) for change in measured]
    narrow, wide = plain(min(half_widths)), plain(max(half_widths))
    reach = f"±{wide}" if narrow == wide else f"±{narrow} to ±{wide}"

    margin = audit.declared.rule.margin
    place = "within" if max(half_widths) < margin else "beyond"
    return (
        f"With {many(audit.verdict.forgotten, 'patient')} and {many(_references(audit), 'retrained model')} the "
        f"intervals reach {reach}, {place} the margin of ±{plain(margin)}."
    )


def _references(audit: Audit) -> int:
    """Retrained models of the forget set that has the fewest."""
    return min(sum(map(is_retrained, draw.models)) for draw in audit.draws)


def _half_width(change: DeltaEstimate) -> float:
    return (change.high - change.low) / 2
