"""Everything the pages of a run say, as plain values; nothing else is on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetmi.audit.result import Audit
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.cost import Cost
from forgetmi.core.near_duplicates import NearDuplicates
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.core.signals import Signals
from forgetmi.evidence.request import RequestSpec
from forgetmi.report.manifest import Manifest
from forgetmi.report.side_by_side import SideBySide
from forgetmi.unlearning.info import MethodInfo


@dataclass(frozen=True)
class CohortSummary:
    """What the data are, without anything about a single patient.

    Args:
        name: Short name of the cohort.
        images, studies, patients: Counts over the whole cohort.
        classes: Names of the classes, in order.
        notices: What was converted or skipped on reading.
        task: Name of the labels' task.
    """

    name: str
    images: int
    studies: int
    patients: int
    classes: tuple[str, ...]
    notices: tuple[str, ...] = ()
    task: str = "classes"

    @classmethod
    def of(cls, cohort: Cohort) -> CohortSummary:
        """The summary of a cohort."""
        studies = codes(cohort.study)[1]
        patients = codes(cohort.patient)[1]

        return cls(
            name=cohort.name,
            images=len(cohort),
            studies=len(studies),
            patients=len(patients),
            classes=cohort.classes,
            notices=cohort.notices,
            task=cohort.task,
        )


@dataclass(frozen=True)
class Work:
    """What the method did and what it cost.

    Args:
        steps: Optimiser steps.
        samples: Set name to the samples read from it, teacher passes included.
        cost: Of the whole unlearning, calibration and teacher included.
        retrain: Cost of one retraining in the same run, None = none was made.
        warnings: What the reader must know, e.g. that the result stays at the original.
        cheapest: Cost of the cheapest exact retraining, None = none was measured in this run; it is never guessed.
    """

    steps: int
    samples: Mapping[str, int]
    cost: Cost
    retrain: Cost | None = None
    warnings: tuple[str, ...] = ()
    cheapest: Cost | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """An example radiograph: Float[h, w] in [0, 1] and a caption without identifiers."""

    pixels: npt.NDArray[np.floating]
    caption: str


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """Everything the pages say; nothing else is on them.

    Args:
        title: Heading of the pages.
        cohort: Summary of the data.
        partition: Who is in which set, with the notes of how it was drawn.
        request: Who withdrew (digests), why and when; at most three digests are shown.
        method: Which method.
        options: The method's hyper-parameters by name, and what it found out.
        work: What it did and cost.
        evaluation: Scores of "original", "unlearned", "retrain-0" ... and "retrain" (`forgetmi.evaluation.suite`).
        signals: Model name to signals, for the loss distributions; may lack models or be empty.
        derived_from_forgotten: One sentence for each thing that still derives from the withdrawn patients.
        manifest: Versions, digests, seeds, hardware, cost, command.
        duplicates: Near-duplicates of what was withdrawn; None = not looked for.
        audit: The audit; None = none was made.
        withdrawal: Number of the request, due date, ground, who signs off, and since when the new model serves.
        expected: What was said before the run that its audit can show; empty = it is said of the audit's numbers.
        beside: The run's two methods side by side; None = it has one.
        examples: Only where the cohort allows images in reports (`Cohort.show_images`); the first six are shown.
    """

    # The request
    title: str
    cohort: CohortSummary
    partition: Partition
    request: ForgetRequest
    # What was done
    method: MethodInfo
    options: Mapping[str, Any]
    work: Work
    # What was measured
    evaluation: Evaluation
    signals: Mapping[str, Signals]
    derived_from_forgotten: tuple[str, ...]
    manifest: Manifest
    # What a run may leave out
    duplicates: NearDuplicates | None = None
    audit: Audit | None = None
    withdrawal: RequestSpec = field(default_factory=RequestSpec)
    expected: tuple[str, ...] = ()
    beside: SideBySide | None = None
    examples: tuple[Example, ...] = field(default=())
