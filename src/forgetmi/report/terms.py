"""Measures, heads and sets in words for a reader who is no engineer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forgetmi.evaluation.channels import is_link
from forgetmi.evaluation.finding_measures import finding_number
from forgetmi.report.channel_words import channel_name


@dataclass(frozen=True)
class Term:
    """How a measure is called in a report, and what it means for a reader who is no engineer."""

    label: str
    meaning: str


_GAP = (
    "Mean difference to the retrained models over five measures ({} and {} on withdrawn and on test patients, {}). An "
    "average: it can be small while single predictions are far off."
)
_PART = "The gap over its {} measures on {} patients alone."
_NOISE = " What one training differs from another by, more than forgetting."
_RECALL = "How often an image’s own report is among so many nearest ones: 1 is always."
_FLOOR, _LARGEST = "Own gap, mean", "Own gap, largest"
TERMS = {
    # Quality
    "auc": Term(
        "AUC", "How well the model puts the right class first: 0.5 is guessing, 1 is perfect."
    ),
    "f1": Term(
        "F1",
        "How well the chosen classes match the labels, averaged over the classes: 1 is perfect.",
    ),
    "accuracy": Term("Accuracy", "Share of images whose class the model gets right."),
    "pairwise_auc": Term("Pairwise AUC", "AUC of each pair of grades, averaged."),
    "ordinal_auc": Term("Ordinal AUC", "AUC of being above each grade, averaged."),
    "severity_mse": Term(
        "Severity error", "Mean squared error of the expected grade: 0 is perfect."
    ),
    # Quality of values, and of pairs
    "r2": Term(
        "Explained variance",
        "Share of the values’ variance that is predicted: 0 is guessing the mean.",
    ),
    "rank_correlation": Term(
        "Rank correlation", "Whether predicted and true values have the same order: 1 is the same."
    ),
    "mae": Term("Mean error", "Mean absolute error, in the value’s units: 0 is perfect."),
    "recall_at_1": Term("Recall at 1", _RECALL),
    "recall_at_5": Term("Recall at 5", _RECALL),
    "recall_at_10": Term("Recall at 10", _RECALL),
    # Membership
    "sample_mia": Term(
        "Membership flag rate",
        "Share of images that a membership test takes for training data. Its "
        "target is the rate of never-seen patients and of retrained models, not 0.",
    ),
    "never_seen_flag_rate": Term(
        "Flag rate, never-seen",
        "The same share for patients whom no model was trained on: the false alarms of the test.",
    ),
    "loss_auc": Term(
        "Loss AUC",
        "How often an image is more familiar to the model than one of a never-seen patient: "
        "0.5 is no difference; below 0.5 gives a patient away as well.",
    ),
    "pair_auc": Term(
        "Pairing AUC", "The same for how tightly image and report are linked: 0.5 is no difference."
    ),
    # Distance to retraining, and its floor
    "gap": Term("Gap to retraining", _GAP.format("AUC", "F1", "membership flag rate")),
    "gap_joint": Term("Gap to retraining", _GAP.format("AUC", "F1", "membership flag rate")),
    "gap_floor": Term(_FLOOR, ""),
    "gap_joint_floor": Term(_FLOOR, ""),
    "gap_floor_largest": Term(_LARGEST, ""),
    "gap_joint_floor_largest": Term(_LARGEST, ""),
    "gap_forget": Term("Gap, withdrawn patients", _PART.format("three", "withdrawn")),
    "gap_joint_forget": Term("Gap, withdrawn patients", _PART.format("three", "withdrawn")),
    "gap_test": Term("Gap, test patients", _PART.format("two", "test") + _NOISE),
    "gap_joint_test": Term("Gap, test patients", _PART.format("two", "test") + _NOISE),
    "gap_forget_floor": Term("Own gap, withdrawn patients", ""),
    "gap_joint_forget_floor": Term("Own gap, withdrawn patients", ""),
    "gap_test_floor": Term("Own gap, test patients", ""),
    "gap_joint_test_floor": Term("Own gap, test patients", ""),
    "jsf": Term(
        "JSf",
        "Mean disagreement with the retrained models, image by image (Jensen-Shannon divergence): "
        "0 is the same prediction, 0.69 is certain of different classes.",
    ),
    "loss_spearman": Term(
        "Rank agreement of losses",
        "Whether the same images are easy and hard as for the retrained "
        "models (Spearman correlation): 1 is the same order, 0 is no relation.",
    ),
    # Distance from the original
    "original_symmetric_kl": Term(
        "Divergence from the original",
        "How much predictions differ from the original’s: "
        "0 is the same; differences of confident predictions weigh heavily.",
    ),
    "original_cosine": Term(
        "Angle to the original", "One minus the cosine of the outputs: 0 is the same direction."
    ),
}
# Heads that are not called by their modality, and sets of patients
_HEADS = {"text": "report head", "both": "both heads", "all": "all heads"}
SETS = {
    "forget": "withdrawn patients",
    "test": "never-seen test patients",
    "retain": "remaining patients",
}


def term(name: str) -> str:
    """A measure's name for readers; unknown ones without underscores."""
    number = finding_number(name)
    if number is not None:
        return f"AUC of finding {number + 1}"
    if name in TERMS:
        return TERMS[name].label
    return name.replace("_", " ")


def meaning(name: str) -> str:
    """A measure in plain words; "" for unknown ones."""
    if name in TERMS:
        return TERMS[name].meaning
    return ""


def gap_meaning(measures: Sequence[str]) -> str:
    """A gap in plain words.

    Args:
        measures: The two measures of quality and the one of membership that it is made of.
    """
    first, second, membership = (term(name) for name in measures)
    return _GAP.format(first, second, membership[0].lower() + membership[1:])


def head_name(head: str) -> str:
    """A head for readers."""
    if head in _HEADS:
        return _HEADS[head]
    return channel_name(head).lower() if is_link(head) else f"{head.replace('_', ' ')} head"


def set_name(on: str) -> str:
    """A set for readers."""
    return SETS.get(on, on)
