"""The engineer's table of attacks: one group per attack, one line per channel, and what was not made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.audit.result import Audit
from forgetmi.audit.rows import AttackMissing, AttackRow
from forgetmi.report.channel_words import channel_name
from forgetmi.report.number_text import percent, plain

COMPARABLE = "for comparison with published tables"
DIRECTIONS = {
    "higher": "higher = more remembered",
    "lower": "lower = more remembered",
    "apart": "how unlike retraining, either way",
}

# Rates at fixed false alarms among an attack's details, and how they are said
_RATES = {
    "tpr_at_no_false_positive": "without a false alarm",
    "tpr_at_10_percent_fpr": "at 10 % false alarms",
}
_NOT_SHOWN = ("leakage", "smallest_fpr")


@dataclass(frozen=True)
class AttackLine:
    """An attack on the new model through one channel, with the original's value next to it."""

    row: AttackRow
    original: AttackRow | None
    draw: str

    @property
    def retrained(self) -> tuple[float, float, float] | None:
        """Mean, lowest and highest of the retrained models."""
        values = self.row.retrained
        if not values:
            return None
        return float(np.mean(values)), min(values), max(values)


@dataclass(frozen=True)
class AttackGroup:
    """All lines of one attack."""

    first: AttackRow
    lines: tuple[AttackLine, ...]

    @property
    def comparable(self) -> bool:
        """Whether it is there for comparison with published tables only."""
        return COMPARABLE in self.first.note


def attack_groups(audit: Audit) -> list[AttackGroup]:
    """Every attack on the new model; those for comparison with published tables last."""
    # The original's value of the same attack
    originals = {}
    for row in audit.attacks:
        if row.model == "original":
            originals[row.draw, row.name, row.channel] = row

    # Lines of each attack; the forget set is named where there are several
    lines: dict[str, list[AttackLine]] = {}
    for row in audit.attacks:
        if row.model != "unlearned":
            continue
        original = originals.get((row.draw, row.name, row.channel))
        draw = audit.draws[row.draw].name if len(audit.draws) > 1 else ""
        lines.setdefault(row.name, []).append(AttackLine(row, original, draw))

    groups = [AttackGroup(of_attack[0].row, tuple(of_attack)) for of_attack in lines.values()]
    return sorted(groups, key=lambda group: group.comparable)


def missing_lines(missing: Sequence[AttackMissing]) -> list[tuple[str, str, str]]:
    """Title, channels and reason of what was not made, one line for each attack and reason."""
    # Channels of each attack and reason, each once and in order
    channels: dict[tuple[str, str], dict[str, None]] = {}
    for row in missing:
        names = channels.setdefault((row.title, row.reason), {})
        if row.channel:
            names[channel_name(row.channel)] = None

    return [(title, ", ".join(names), reason) for (title, reason), names in channels.items()]


def remarks(row: AttackRow) -> str:
    """The note, the rates at fixed false alarms, and what else the attack gives."""
    parts = [row.note.replace(COMPARABLE, "").strip(" ;")]

    # Rates at fixed false alarms
    for name, words in _RATES.items():
        if name in row.details:
            rate = percent(row.details[name])
            parts.append(f"finds {rate} %{_interval(row.details, name)} {words}")

    # Everything else
    for name, value in row.details.items():
        if _is_rate(name) or name in _NOT_SHOWN or name.startswith("auc_"):
            continue
        parts.append(f"{name.replace('_', ' ')} {plain(value, 3)}")

    return "; ".join(part for part in parts if part)


def numbers(counts: Mapping[str, int]) -> list[str]:
    """Group sizes in words."""
    parts = []
    for name, number in counts.items():
        parts.append(f"{number:,} {name.replace('forgotten', 'withdrawn')}")
    return parts


def _interval(details: Mapping[str, float], name: str) -> str:
    low, high = details.get(f"{name}_low"), details.get(f"{name}_high")
    if low is None or high is None:
        return ""
    return f" ({percent(low)} to {percent(high)})"


def _is_rate(name: str) -> bool:
    """Whether a detail is a rate at fixed false alarms, or an end of its interval."""
    return name.removesuffix("_low").removesuffix("_high") in _RATES
