"""The rows of an audit: results patient by patient and attack by attack, as plain values for a record.

Numbers, words and keyed digests only, so that a file can hold them, a signature can cover them and a page can show
them without knowing how they were computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from forgetmi.audit.verdict import Outcome
from forgetmi.core.serialization import LATER
from forgetmi.evaluation.attacks.base import Direction, Reference
from forgetmi.evaluation.channels import Channel

# "any" = the channel that gives a patient away most
ScoredChannel: TypeAlias = Channel
Harm = Literal["within margin", "harmed", "not resolvable", "too few to say"]


# The forget sets
@dataclass(frozen=True)
class DrawSummary:
    """One forget set that was audited; several disjoint ones of a cohort are pooled.

    Args:
        name: Of the run's directory.
        forgotten, images: Patients to be forgotten now and their images, near-duplicates included.
        near_duplicates: How many of these patients have a copy under a retained patient.
        never_seen: Patients never trained on that they are compared with, extra reference patients included.
        models: Model name to the digest of its weights: the original, the unlearned and every retrained one.
        shadows: Shadow models used.
        left_out: Digests of never-seen patients who are not compared with: they have a copy of something forgotten.
        earlier: Patients whom earlier requests had forgotten; nothing in the audit is about them.
    """

    name: str
    forgotten: int
    images: int
    near_duplicates: int
    never_seen: int
    models: Mapping[str, str]
    shadows: int = 0
    left_out: tuple[str, ...] = field(default=(), metadata=LATER)
    earlier: int = field(default=0, metadata=LATER)


@dataclass(frozen=True)
class Control:
    """The same rule applied to a model whose outcome is known beforehand: the original, or a retrained model left out.

    Args:
        model: "original" (should be NOT FORGOTTEN) or "retrain-0" ... (should never be NOT FORGOTTEN).
        outcome: Overall.
        channels: Channel to its outcome.
    """

    model: str
    outcome: Outcome
    channels: Mapping[str, Outcome]


# Forgotten patients, and never-seen ones as background
@dataclass(frozen=True)
class PatientScore:
    """One forgotten patient's score through one channel.

    Args:
        score: Signal under the unlearned model less its mean under retrained ones, in standard deviations of
            never-seen patients with as many studies; 0 = as if never seen, above = remembered.
        percentile: 0..100 among the never-seen patients.
        p, p_adjusted: Of a score as high among the compared never-seen patients; after Benjamini-Hochberg over the
            forgotten patients.
        p_over, p_over_adjusted: Of a score as low.
        compared: Never-seen patients the p-values rest on.
    """

    score: float
    percentile: float
    p: float
    p_adjusted: float
    p_over: float
    p_over_adjusted: float
    compared: int


@dataclass(frozen=True)
class PatientRow:
    """One forgotten patient.

    Args:
        patient: Keyed digest.
        draw: Which forget set, from 0.
        studies, images: How many.
        near_duplicate: Whether a copy lives on under a retained patient; such patients are not part of the verdict.
        remembered, over_forgotten: Whether the patient stands out on "any" after correction for all patients of the
            set.
        channels: Channel, or "any", to its score; a channel that could not be measured is absent.
    """

    patient: str
    draw: int
    studies: int
    images: int
    near_duplicate: bool
    remembered: bool
    over_forgotten: bool
    channels: Mapping[str, PatientScore]


@dataclass(frozen=True)
class NeverSeen:
    """Scores of the never-seen patients, the background of a strip plot.

    Args:
        draw: Which forget set.
        channel: Channel, or "any".
        scores: One per patient, on the scale of `PatientScore.score`.
    """

    draw: int
    channel: ScoredChannel
    scores: tuple[float, ...]


# Everyone else: held-out patients served worse, retained patients exposed
@dataclass(frozen=True)
class HarmRow:
    """How much worse than retrained models the unlearned model serves never-seen patients.

    Args:
        draw: Which forget set.
        column, value: "" and "" for all of them, else a subgroup, e.g. "sex" and "F".
        head: A head, or all of them together ("both", "all").
        metric: The task's first headline metric, such as "auc" (all), or "accuracy" (subgroups).
        patients: Patients it rests on.
        unlearned, retrained: The metric under the unlearned model, and the retrained models' mean.
        difference: unlearned - retrained; None = too few to say.
        interval: 95 % over patients and retrained models; None where there is none.
        margin: Declared beforehand; a loss below it counts as none.
        outcome: "harmed": the interval is below 0 and the loss reaches the margin; "within margin": the interval
            excludes such a loss.
    """

    draw: int
    column: str
    value: str
    head: str
    metric: str
    patients: int
    unlearned: float | None
    retrained: float | None
    difference: float | None
    interval: tuple[float, float] | None
    margin: float
    outcome: Harm


@dataclass(frozen=True)
class RetainedRow:
    """A retained patient whose membership is easier to tell after unlearning than retraining would make it.

    Args:
        draw: Which forget set.
        patient: Keyed digest.
        channel: Through which it rose most.
        score: Signal under the unlearned model less its mean under retrained ones, in standard deviations of what
            retrained models differ by.
        p_adjusted: After Benjamini-Hochberg over the retained patients.
    """

    draw: int
    patient: str
    channel: Channel
    score: float
    p_adjusted: float


@dataclass(frozen=True)
class RetainedRisk:
    """Retained patients as a group, one forget set.

    Args:
        draw: Which forget set.
        patients: How many.
        smallest_p: The smallest p-value that this many retrained models and patients can give.
        auc: Channel to the chance that a retained patient is above a never-seen one, under the unlearned model.
        auc_retrained: The same, mean over retrained models.
        risen: Those who stand out, the most risen first.
    """

    draw: int
    patients: int
    smallest_p: float
    auc: Mapping[str, float]
    auc_retrained: Mapping[str, float]
    risen: tuple[RetainedRow, ...]


# Attacks and relearning
@dataclass(frozen=True)
class RelearnCurve:
    """Mean loss of forgotten patients while half of them are taught again.

    Args:
        draw: Which forget set.
        model: "unlearned" or "retrain-0".
        head: A head, or all of them together ("both", "all").
        taught, watched: Losses in nats before the first epoch and after each: of patients taught again, and of those
            only watched.
        taught_threshold, watched_threshold: The original model's loss on the same patients.
        epochs: Epochs until the taught patients' loss reached its threshold; the number waited where it did not.
        censored: Whether it did not.
    """

    draw: int
    model: str
    head: str
    taught: tuple[float, ...]
    watched: tuple[float, ...]
    taught_threshold: float
    watched_threshold: float
    epochs: int
    censored: bool


@dataclass(frozen=True)
class AttackRow:
    """Result of one attack on one model through one channel.

    Args:
        draw: Which forget set.
        model: "unlearned", "original", "retrain-0" ...
        channel: The channel.
        name, title, source, measures: The attack; see `forgetmi.evaluation.attacks.base.AttackInfo`.
        direction: Whether "higher" or "lower" means more remembered; "apart" = how unlike retraining, whichever way.
        reference: What the value is read against.
        forgotten: The value of perfect forgetting in theory; None = unknown.
        value, interval, bound, unit, counts, details, note: See `forgetmi.evaluation.attacks.base.AttackOutput`.
        scores: Group ("forgotten", "never seen") to per-patient scores, larger = more like a member: for ROC curves.
        retrained: The attack's values on retrained models other than `model`.
    """

    draw: int
    model: str
    channel: Channel
    name: str
    title: str
    source: str
    measures: str
    direction: Direction
    reference: Reference
    forgotten: float | None
    value: float
    interval: tuple[float, float] | None
    bound: Literal["", "at least", "at most"]
    unit: str
    counts: Mapping[str, int]
    details: Mapping[str, float]
    scores: Mapping[str, tuple[float, ...]]
    retrained: tuple[float, ...]
    note: str


@dataclass(frozen=True)
class AttackMissing:
    """An attack that was not made, and why.

    Args:
        draw: Which forget set.
        name, title: The attack.
        channel: Through which channel; "" = through none.
        reason: In words.
    """

    draw: int
    name: str
    title: str
    channel: str
    reason: str
