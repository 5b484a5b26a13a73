"""What a finished run stored about one of its forgotten patients, for a page about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from forgetmi.audit.patient_view import PatientView, patient_view
from forgetmi.audit.rows import PatientRow
from forgetmi.core.arrays import codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.data.decode import read_image
from forgetmi.report import run_text
from forgetmi.report.content import Example
from forgetmi.report.patient_page import IMAGES_SHOWN, PatientFacts
from forgetmi.run.audit_stage import read_draw, stored_audit
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import RunSpec
from forgetmi.run.stored_cohort import stored_data

FEWEST = 6  # characters of a digest that may stand for it


def patient_facts(directory: RunDirectory, spec: RunSpec, digest: str) -> PatientFacts:
    """Everything the page about a patient says.

    Args:
        directory: A finished run.
        spec: Its specification.
        digest: The patient's keyed digest, or its first characters.

    Raises:
        SpecError: The digest names nobody whom the run forgot, or several.
    """
    cohort, partition = stored_data(spec, directory)
    forgotten = codes(cohort.patient[partition.of_request().forget])[1]
    patient = _only_one(digest, [str(name) for name in forgotten])

    run = read_draw(directory, cohort, partition, seed=spec.seed)
    view = patient_view(run, patient, task=cohort.task, seed=spec.seed)
    duplicates = tuple(pair for pair in run.duplicates if pair.patient == patient)
    return PatientFacts(
        run=directory.root.resolve().name,
        view=view,
        row=_audited(directory, patient),
        duplicates=duplicates,
        pictures=_pictures(cohort, view, reading=spec.images.reading),
    )


def _only_one(digest: str, forgotten: list[str]) -> str:
    """The forgotten patient whom the beginning of a digest names.

    Raises:
        SpecError: It names none, or several.
    """
    named = [patient for patient in forgotten if digest and patient.startswith(digest.lower())]
    if len(named) == 1 and len(digest) >= FEWEST:
        return named[0]

    why = f"{len(named)} of its {len(forgotten)} forgotten patients have digests that begin so"
    if len(digest) < FEWEST:
        why = f"fewer than {FEWEST} characters are given"
    raise SpecError(
        Fault(
            "the digest does not name one forgotten patient of this run",
            where="--patient",
            why=why,
            do="Copy it from the engineer's page or from audit.json.",
        )
    )


def _audited(directory: RunDirectory, patient: str) -> PatientRow | None:
    """What the run's audit says of the patient."""
    if not directory.audit.exists():
        return None
    for row in stored_audit(directory.audit).patients:
        if row.patient == patient:
            return row
    return None


def _pictures(
    cohort: Cohort, view: PatientView, *, reading: Mapping[str, Any]
) -> dict[int, Example]:
    """The patient's films that the page shows, where the cohort allows pictures and they are at hand."""
    if not cohort.show_images:
        return {}

    pictures = {}
    for image in view.remembered[:IMAGES_SHOWN]:
        locator = str(cohort.image[image.row])
        if locator:
            pixels = read_image(locator, **reading).pixels
            caption = run_text.caption(f"study {image.study[:8]}", "")
            pictures[image.row] = Example(np.asarray(pixels), caption)
    return pictures
