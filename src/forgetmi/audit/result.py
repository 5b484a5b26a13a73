"""The result of an audit: a record that a report shows, a signature covers and anybody can compute again from signals.

Everything in it is plain (numbers, words, keyed digests), in the order of a reader's questions: the verdict, the
patients behind it, who else was harmed, and each attack with what it was compared with. The rows it is made of are in
`forgetmi.audit.rows`, where the report can read them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from forgetmi.audit.memory_removed import MemoryRemoved
from forgetmi.audit.rows import (
    AttackMissing,
    AttackRow,
    Control,
    DrawSummary,
    HarmRow,
    NeverSeen,
    PatientRow,
    RelearnCurve,
    RetainedRisk,
)
from forgetmi.audit.rule import AuditSpec
from forgetmi.audit.subgroups import SubgroupRow
from forgetmi.audit.verdict import ChannelVerdict, Outcome, Verdict
from forgetmi.core.json_text import parse_json, read_json
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.core.notebook import html_table, number
from forgetmi.core.serialization import LATER, from_plain
from forgetmi.evaluation.channels import Channel

_WHAT = "the audit"
_DO = "Restore the file, or audit the run again: forgetmi audit."


@dataclass(frozen=True, repr=False)
class Audit:
    """The audit of one run, or of several runs with disjoint forget sets pooled.

    Args:
        declared: What the runs declared before their first signal.
        rule_digest: SHA-256 of rule.json; noted elsewhere before the run, it proves which came first.
        cohort: Digest of the cohort.
        seed: Root seed of the audit's resamples, folds and subsamples.
        draws: The forget sets.
        verdict: By the declared rule; near-duplicates are not part of it.
        controls: The same rule on models whose outcome is known beforehand; empty with fewer than two
            retrained models.
        statements: Sentences that are part of every report of the outcome: what the data could show at all, what was
            left out, what was harmed.
        patients: Every forgotten patient, the most remembered first.
        never_seen: Their scores.
        duplicates: Near-duplicates of what was forgotten, by patient; their items stay in duplicates.json.
        subgroups: AUC of forgotten against never-seen patients by subgroup, of the score on "any", draws pooled.
        harm: Utility first (no column), then subgroups.
        retained: Retained patients' risk, one a forget set.
        relearning: Curves; empty where nothing was relearnt.
        attacks: Results of the attacks, comparable attacks of a model together.
        missing: Attacks that were not made, and why.
        memory: Share of the original's memory that is gone, by channel; no part of the rule. Empty in a record from
            before it was measured.
    """

    declared: AuditSpec
    rule_digest: str
    cohort: str
    seed: int
    draws: tuple[DrawSummary, ...]
    verdict: Verdict
    controls: tuple[Control, ...]
    statements: tuple[str, ...]
    patients: tuple[PatientRow, ...]
    never_seen: tuple[NeverSeen, ...]
    duplicates: tuple[NearDuplicate, ...]
    subgroups: tuple[SubgroupRow, ...]
    harm: tuple[HarmRow, ...]
    retained: tuple[RetainedRisk, ...]
    relearning: tuple[RelearnCurve, ...]
    attacks: tuple[AttackRow, ...]
    missing: tuple[AttackMissing, ...]
    memory: tuple[MemoryRemoved, ...] = field(default=(), metadata=LATER)

    def __repr__(self) -> str:
        named = sum(row.remembered for row in self.patients)
        return (
            f"Audit({self.outcome}: {len(self.patients)} patients, {named} stand out as remembered, "
            f"{len(self.attacks)} results of attacks)"
        )

    def _repr_html_(self) -> str:
        rows = []
        for row in self.patients:
            score = row.channels.get("any")
            value = number(score.score) if score is not None else ""
            share = f"{score.percentile:.0f} %" if score is not None else ""
            rows.append((row.patient, str(row.images), value, share, _named(row)))

        # The verdict, then who it is about
        header = ("patient (keyed digest)", "images", "score", "percentile", "stands out")
        patients = html_table("Each forgotten patient among never-seen ones", header, rows)
        return self.verdict._repr_html_() + patients

    @property
    def outcome(self) -> Outcome:
        """The verdict in one word or two."""
        return self.verdict.outcome

    def channel(self, name: Channel) -> ChannelVerdict:
        """The verdict on one channel.

        Raises:
            KeyError: The rule does not judge it.
        """
        for channel in self.verdict.channels:
            if channel.channel == name:
                return channel
        raise KeyError(name)

    def of_model(
        self, model: str, *, channel: str = "", draw: int | None = None
    ) -> Iterator[AttackRow]:
        """The attacks on one model, of all channels and draws or of one."""
        for row in self.attacks:
            of_channel = channel in ("", row.channel)
            of_draw = draw in (None, row.draw)

            if row.model == model and of_channel and of_draw:
                yield row

    def to_json(self) -> str:
        """Stable JSON; NaN is never written."""
        plain = asdict(self)

        # An audit names patients only: which image or report was copied stays in duplicates.json
        for duplicate in plain["duplicates"]:
            del duplicate["item"], duplicate["other_item"]

        return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str = "audit.json") -> Audit:
        """Read what `to_json` wrote.

        Args:
            text: The content.
            where: Name of the file, for messages.

        Raises:
            SpecError: A field is missing, unknown or of another type.
        """
        values = parse_json(text, where=where, what=_WHAT, do=_DO)
        return from_plain(cls, values, where=where, complete=True)

    @classmethod
    def read(cls, path: Path) -> Audit:
        """Read a file of what `to_json` wrote.

        Args:
            path: The audit.json of a run.

        Raises:
            SpecError: It is missing, or a field is missing, unknown or of another type.
        """
        values = read_json(path, what=_WHAT, do=_DO)
        return from_plain(cls, values, where=path.name, complete=True)


def _named(row: PatientRow) -> str:
    """Whether a patient stands out, in a word."""
    if row.remembered:
        return "remembered"
    return "over-forgotten" if row.over_forgotten else ""
