"""The parts of the engineer's page about single findings: a figure and a table a head, under the mean over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from forgetmi.core.scores import Evaluation
from forgetmi.evaluation.finding_measures import SINGLE, finding_number
from forgetmi.evaluation.signals import is_together
from forgetmi.report import readings, sections
from forgetmi.report.readings import Reading
from forgetmi.report.terms import head_name


@dataclass(frozen=True)
class FindingLine:
    """One finding: its name, and its AUC on the withdrawn and on the never-seen patients."""

    name: str
    withdrawn: Reading
    never_seen: Reading


@dataclass(frozen=True)
class FindingTable:
    """The findings of one head.

    Args:
        head: In words.
        lines: Of the findings, in their order.
        measured: How many have an AUC of the unlearned model on the withdrawn patients.
        picture: The AUC of each of these on never-seen patients; None = of none.
        opened: Whether its figure is shown at once: of all heads together, or of the only one.
    """

    head: str
    lines: tuple[FindingLine, ...]
    measured: int
    picture: Markup | None
    opened: bool


def findings(evaluation: Evaluation, names: Sequence[str]) -> list[FindingTable]:
    """A table for each head; none where the labels are no findings.

    Args:
        evaluation: All scores.
        names: Of the findings, in their order.
    """
    # By head, set and number
    found: dict[str, dict[tuple[str, int], Reading]] = {}
    for reading in readings.read(evaluation, on=("forget", "test")):
        number = finding_number(reading.name)
        if number is not None:
            found.setdefault(reading.head, {})[reading.on, number] = reading

    return [
        _table(head, by_place, names, opened=is_together(head) or len(found) == 1)
        for head, by_place in found.items()
    ]


def _table(
    head: str, by_place: dict[tuple[str, int], Reading], names: Sequence[str], *, opened: bool
) -> FindingTable:
    numbers = sorted({number for _, number in by_place})
    lines = []
    for number in numbers:
        name = names[number] if number < len(names) else f"finding {number + 1}"
        lines.append(FindingLine(name, by_place["forget", number], by_place["test", number]))

    # The figure names findings, not measures
    rows = [(line.name, line.never_seen) for line in lines]
    return FindingTable(
        head=head_name(head),
        lines=tuple(lines),
        measured=sum(line.withdrawn.retrained is not None for line in lines),
        picture=sections.named_dots(
            f"{SINGLE}{head}", f"AUC on never-seen patients, {head_name(head)}", rows
        ),
        opened=opened,
    )
