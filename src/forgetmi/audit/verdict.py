"""The answer of an audit: forgotten, not forgotten, over-forgotten, or not resolvable, with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from forgetmi.audit.delta import Deltas
from forgetmi.core.notebook import html_table, number, span
from forgetmi.evaluation.channels import Channel

# The four possible answers, on a channel and overall
Outcome = Literal["FORGOTTEN", "NOT FORGOTTEN", "OVER-FORGOTTEN", "NOT RESOLVABLE"]


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


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        channels = ", ".join(f"{one.channel} {one.outcome}" for one in self.channels)
        return (
            f"Verdict({self.outcome}: {channels}; {self.forgotten} forgotten, "
            f"{self.never_seen} never-seen patients)"
        )

    def _repr_html_(self) -> str:
        rows = []
        for one in self.channels:
            delta = one.deltas.unlearned if one.deltas is not None else None
            value, interval = "", ""
            if delta is not None:
                value, interval = number(delta.value), span((delta.low, delta.high))
            rows.append((one.channel, one.outcome, value, interval, one.reason))

        caption = (
            f"{self.outcome}: {self.forgotten} forgotten, {self.never_seen} never-seen patients"
        )
        header = ("channel", "outcome", "AUC minus retrained", "interval", "reason")
        return html_table(caption, header, rows)
