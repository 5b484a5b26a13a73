"""Everything the pages of a run say, as plain values; nothing else is on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

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
from forgetmi.audit.rule import Rule
from forgetmi.audit.subgroups import SubgroupRow
from forgetmi.audit.verdict import Verdict
from forgetmi.core.cost import Cost
from forgetmi.core.types import Cohort, Evaluation, ForgetRequest, Partition, Signals, codes
from forgetmi.report.manifest import Manifest


@dataclass(frozen=True)
class CohortSummary:
    """What the data are, without anything about a single patient.

    Args:
        name: Short name of the cohort.
        images, studies, patients: Counts over the whole cohort.
        classes: Names of the classes, in order.
        notices: What was converted or skipped on reading.
    """

    name: str
    images: int
    studies: int
    patients: int
    classes: tuple[str, ...]
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, cohort: Cohort) -> CohortSummary:
        """The summary of a cohort."""
        return cls(
            cohort.name,
            len(cohort),
            len(codes(cohort.study)[1]),
            len(codes(cohort.patient)[1]),
            cohort.classes,
            cohort.notices,
        )


@dataclass(frozen=True)
class MethodSummary:
    """Which method was used.

    Args:
        title: Its name in the field.
        summary: One plain sentence.
        paper: Its source, short.
        options: Hyper-parameters, by name.
        exact: Whether its result never saw the withdrawn patients (retraining).
    """

    title: str
    summary: str
    paper: str
    options: Mapping[str, Any]
    exact: bool = False


@dataclass(frozen=True)
class Work:
    """What the method did and what it cost.

    Args:
        steps: Optimiser steps.
        samples: Set name to the samples read from it, teacher passes included.
        cost: Of the whole unlearning, calibration and teacher included.
        retrain: Cost of one retraining in the same run, None = none was made.
        warnings: What the reader must know, e.g. that the result stays at the original.
    """

    steps: int
    samples: Mapping[str, int]
    cost: Cost
    retrain: Cost | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Example:
    """An example radiograph: Float[h, w] in [0, 1] and a caption without identifiers."""

    pixels: npt.NDArray[np.floating]
    caption: str


@dataclass(frozen=True)
class CopyRow:
    """Something of a withdrawn patient that lives on as a copy.

    Args:
        kind: "same file", "same image" or "same report".
        similarity: 0..1.
        patient, other_patient: Keyed digests.
        other_set: Where the copy is; "retain" = it stays in training.
        advice: What to do.
    """

    kind: str
    similarity: float
    patient: str
    other_patient: str
    other_set: str
    advice: str


@dataclass(frozen=True)
class Copies:
    """The search for copies of what was withdrawn.

    Args:
        images, reports: How many withdrawn ones were compared with how many others.
        rows: What was found, the most alike first.
    """

    images: tuple[int, int]
    reports: tuple[int, int]
    rows: tuple[CopyRow, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What the audit found; the rows are explained in `forgetmi.audit.rows`.

    Args:
        rule: The declared rule of the verdict.
        rule_digest: SHA-256 of everything that was declared.
        utility_margin, subgroup_margin: Declared losses for others that count as none.
        draws: The forget sets.
        verdict: The answer.
        statements: Sentences that are part of every report of the outcome.
        controls: The rule on models whose answer is known.
        patients: Every withdrawn patient, the most remembered first.
        never_seen: Scores of never-seen patients.
        subgroups: How well withdrawn patients are told apart, by subgroup.
        harm: What held-out patients lose.
        retained: Retained patients' risk.
        relearning: Losses while withdrawn patients are taught again.
        attacks, missing: What was found, and what was not made.
    """

    rule: Rule
    rule_digest: str
    utility_margin: float
    subgroup_margin: float
    draws: tuple[DrawSummary, ...]
    verdict: Verdict
    statements: tuple[str, ...]
    controls: tuple[Control, ...] = ()
    patients: tuple[PatientRow, ...] = ()
    never_seen: tuple[NeverSeen, ...] = ()
    subgroups: tuple[SubgroupRow, ...] = ()
    harm: tuple[HarmRow, ...] = ()
    retained: tuple[RetainedRisk, ...] = ()
    relearning: tuple[RelearnCurve, ...] = ()
    attacks: tuple[AttackRow, ...] = ()
    missing: tuple[AttackMissing, ...] = ()


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """Everything the pages say; nothing else is on them.

    Args:
        title: Heading of the pages.
        cohort: Summary of the data.
        partition: Who is in which set, with the notes of how it was drawn.
        request: Who asked to be removed (digests), why and when; at most three digests are shown.
        method: Which method.
        work: What it did and cost.
        evaluation: Scores of "original", "unlearned", "retrain-0" ... and "retrain" (`forgetmi.evaluation.suite`).
        signals: Model name to signals, for the loss distributions; may lack models or be empty.
        derived_from_forgotten: One sentence for each thing that still derives from the withdrawn patients.
        manifest: Versions, digests, seeds, hardware, cost, command.
        copies: Copies of what was withdrawn; None = not looked for.
        findings: What the audit found; None = no audit was made.
        examples: Only where the cohort allows images in reports (`Cohort.show_images`); the first six are shown.
    """

    title: str
    cohort: CohortSummary
    partition: Partition
    request: ForgetRequest
    method: MethodSummary
    work: Work
    evaluation: Evaluation
    signals: Mapping[str, Signals]
    derived_from_forgotten: tuple[str, ...]
    manifest: Manifest
    copies: Copies | None = None
    findings: Findings | None = None
    examples: tuple[Example, ...] = field(default=())
