"""How much of the original's memory is gone, in words; no part of the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forgetmi.audit.memory_removed import MemoryRemoved
from forgetmi.report.channel_words import channel_name
from forgetmi.report.number_text import many, percent


@dataclass(frozen=True)
class MemoryLine:
    """One channel: its name, the share that is gone with its interval, and the retrained models' own shares."""

    name: str
    share: str
    retrained: str


def memory_lines(memory: Sequence[MemoryRemoved]) -> list[MemoryLine]:
    """A line a channel; a single one where nothing can be said of any, for the same reason."""
    reasons = {one.reason if one.share is None else "" for one in memory}
    if len(memory) > 1 and len(reasons) == 1 and "" not in reasons:
        return [MemoryLine("All views", _share(memory[0]), _retrained(()))]
    return [
        MemoryLine(channel_name(one.channel), _share(one), _retrained(one.retrained))
        for one in memory
    ]


def memory_basis(memory: Sequence[MemoryRemoved]) -> str:
    """Whom the shares rest on."""
    if not memory:
        return ""
    forgotten = max(one.forgotten for one in memory)
    never_seen = max(one.never_seen for one in memory)
    return f"{many(forgotten, 'withdrawn patient')}, {many(never_seen, 'never-seen patient')}"


def _share(one: MemoryRemoved) -> str:
    if one.share is None:
        return f"not resolvable: {one.reason}"

    share = f"{percent(one.share)} %"
    if one.interval is None:
        return share
    return f"{share} ({percent(one.interval[0])} to {percent(one.interval[1])} %)"


def _retrained(shares: Sequence[float]) -> str:
    """The range of the retrained models' shares."""
    if not shares:
        return "–"
    low, high = percent(min(shares)), percent(max(shares))
    return f"{low} %" if low == high else f"{low} to {high} %"
