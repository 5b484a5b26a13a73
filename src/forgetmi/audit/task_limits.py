"""What an audit does not have because of the labels' task: one sentence each, so that nothing is left out silently."""

from __future__ import annotations

import numpy as np

from forgetmi.core.labels import known, known_cells
from forgetmi.core.partition import SetName
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.finding_measures import both_sides
from forgetmi.evaluation.link import missing_pairs

_SETS: tuple[SetName, ...] = ("forget", "holdout")


def task_limits(knowledge: AdversaryKnowledge) -> tuple[str, ...]:
    """Sentences for the record; none where the labels are classes or grades and nothing is missing.

    Args:
        knowledge: One forget set, through any channel.
    """
    sentences = []
    task = knowledge.task
    if "accuracy" not in knowledge.measures.scores():
        sentences.append(
            f"Accuracy does not apply to the task {task}: the verdict judges by separability alone, and harm to "
            "subgroups is not measured."
        )
    if task == "pairs":
        sentences.append(
            "The task pairs has no predictions: harm to others and relearning are not measured, and the verdict "
            "rests on the link alone."
        )
    return (*sentences, *_findings(knowledge), *_missing_modalities(knowledge))


def _findings(knowledge: AdversaryKnowledge) -> list[str]:
    """How much of the findings is known, and what cannot be told apart among the never-seen."""
    if knowledge.task != "findings":
        return []

    # Of the forgotten and the held-out samples
    rows = np.concatenate([knowledge.partition.rows(name) for name in _SETS])
    label = knowledge.audited.select(rows).label
    cells = known_cells(label)
    unknown = int((~known(label)).sum())
    told_apart = len(both_sides(label))
    return [
        f"Of {label.shape[1]} findings, {told_apart} are both there and absent among the forgotten and held-out "
        f"samples; {cells.mean():.0%} of these samples' findings are known. Signals are means over the known ones; "
        f"{unknown} samples without any are on no head's channel."
    ]


def _missing_modalities(knowledge: AdversaryKnowledge) -> list[str]:
    """How many pairs lack one side, link by link."""
    rows = np.concatenate([knowledge.partition.rows(name) for name in _SETS])
    sentences = []
    for first, second, count in missing_pairs(knowledge.audited.select(rows)):
        sentences.append(
            f"{count} of {len(rows)} forgotten and held-out samples lack {first} or {second}, and are not on the link "
            "between the two."
        )
    return sentences
