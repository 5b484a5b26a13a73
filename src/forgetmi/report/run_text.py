"""How a run was made, in words: its title, its warnings, what of the new model still derives from the withdrawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from forgetmi.core.carrier import COMPLETE, COVERS
from forgetmi.report.number_text import many
from forgetmi.unlearning.info import MethodInfo


def title(patients: int) -> str:
    """Heading of a run's pages."""
    return f"Withdrawal of {many(patients, 'patient')}"


def converted(notice: str, images: int) -> str:
    """What was converted on reading, with the number of images; 0 = it concerns no image."""
    return f"{notice} ({images} images)" if images else notice


def caption(group: str, grade: str) -> str:
    """Caption of an example radiograph; grade "" = no label is known."""
    return f"{group}, {grade}" if grade else group


def warnings(*, stayed: bool, first_gradient: float | None) -> list[str]:
    """What the reader must know before any number.

    Args:
        stayed: Whether the model ended where the original was; see `forgetmi.evaluation.gaps.stayed`.
        first_gradient: Norm of the first step's gradient; None without steps.
    """
    sentences = []

    # The model is still the original
    if stayed:
        sentences.append(
            "Did not forget: on each of the five measures the unlearned model is within the retrained "
            "models' own gap of the original."
        )
    # Without a gradient no step leaves the original
    if first_gradient == 0.0:
        sentences.append(
            "The first step's gradient was zero: the method could not start from the original."
        )

    return sentences


def within_carrier(info: MethodInfo, facts: Mapping[str, Any]) -> tuple[MethodInfo, list[str]]:
    """A method as it was where it moved a part of the model alone, and the sentence that says what this covers.

    It is exact only where nothing else has seen a patient.

    Args:
        info: Of the method.
        facts: Of the trace.
    """
    if COVERS not in facts:
        return info, []
    exact = info.exact and facts.get(COMPLETE) is True
    return replace(info, exact=exact), [f"What was unlearned: {facts[COVERS]}."]


def vocabulary(*, original_given: bool, pretrained: bool, min_patients: int) -> list[str]:
    """Whose reports the word pieces come from.

    Args:
        original_given: Whether the original came from outside the run.
        pretrained: Whether the vocabulary is that of a pretrained encoder.
        min_patients: Patients in whose reports every piece occurs at least.
    """
    # A given original brings its vocabulary along
    if original_given:
        return [
            "The vocabulary came with the given original; whose reports it was made from is not known here."
        ]
    # A pretrained vocabulary was made from other texts
    if pretrained:
        return []
    return [
        "The word-piece vocabulary was made from the reports of all training patients, the withdrawn "
        f"among them; every piece occurs in at least {min_patients} patients."
    ]


def inherited(*, changed: Collection[str], heads: Collection[str], reads_forget: bool) -> list[str]:
    """What a model that was not retrained still has from the original.

    Args:
        changed: Names of the tensors that differ from the original's.
        heads: Those among them that belong to a class head.
        reads_forget: Whether the method read the withdrawn patients' data.
    """
    sentences = [
        "The weights start from the original model's, which was trained on the withdrawn patients."
    ]

    # Parts that the method did not touch
    if not heads:
        sentences.append("The class heads are the original's, unchanged.")
    if not any("running_mean" in name for name in changed):
        sentences.append("The batch-normalisation statistics are the original's, unchanged.")
    if reads_forget:
        sentences.append("The withdrawn patients' data were read once more, to unlearn them.")

    return sentences
