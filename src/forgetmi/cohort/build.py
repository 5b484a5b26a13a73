"""Turns raw rows, whatever they were read from, into a Cohort; every reader ends here, so all check the same faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.cohort.content_digest import content_digest
from forgetmi.cohort.finding_columns import FindingRules
from forgetmi.cohort.identifier_columns import check_spellings, check_undamaged, hidden_marks
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import Identity, canonical_cells, folded_cells, is_missing_text
from forgetmi.cohort.image_column import read_locators
from forgetmi.cohort.labels import labels_of_task
from forgetmi.cohort.measured_columns import (
    missing_notices,
    read_measured,
    what_is_there,
)
from forgetmi.cohort.raw_rows import RawRows
from forgetmi.cohort.row_checks import Findings, blank, changed_within, repeated, stripped
from forgetmi.cohort.spelling import spelling_of
from forgetmi.cohort.split_column import read_splits
from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.labels import known
from forgetmi.core.modalities import IMAGE, TABLE, TEXT


def build_cohort(
    rows: RawRows,
    *,
    name: str,
    pseudonyms: Pseudonyms,
    identity: Identity | None = None,
    classes: tuple[str, ...] = (),
    task: str,
    rules: FindingRules | None = None,
    image_root: Path = Path(),
    show_images: bool = False,
    missing_allowed: bool = False,
) -> Cohort:
    """Check raw rows and turn them into a cohort of keyed digests.

    Args:
        rows: What was read.
        name: Short name of the cohort for reports.
        pseudonyms: Makes the digests.
        identity: What the user said about spellings of identifiers; None = nothing.
        classes: Names of the k classes in order; empty = the integers 0..k-1 found in the rows.
        task: Name of the task; see `forgetmi.cohort.labels`.
        rules: What uncertain and blank findings count as.
        image_root: Folder that relative image paths start from.
        show_images: Whether a report may show example radiographs.
        missing_allowed: Whether a row may lack its film, its report or all of its measured columns (not everything).

    Returns:
        The cohort, in the order of the rows. Its digest covers every column and the class names, but neither the raw
        identifiers (only which rows share one), nor the image folder, nor the images' pixels.

    Raises:
        CohortError: With every fault of every row, 20 of a kind spelled out and the rest counted.
    """
    # Identifiers as they are compared everywhere; they go no further than this function
    identity = identity or Identity()
    written = _Identifiers(
        patient=canonical_cells(rows.patient),
        study=canonical_cells(rows.study),
        image_id=canonical_cells(rows.image_id),
        group=None if rows.group is None else canonical_cells(rows.group),
    )
    patient = identity.identifiers(written.patient)
    study = folded_cells(written.study, identity.rules)
    image_id = written.image_id
    group = None if written.group is None else folded_cells(written.group, identity.rules)
    patient_digest = pseudonyms.digests("patient", patient)

    # Every check runs, so that all faults are reported at once
    named = np.where(patient == "", "", patient_digest)
    findings = Findings(rows, named, list(rows.faults))
    _check_identifiers(findings, patient, study, image_id)
    report = _reports(findings, missing_allowed=missing_allowed)
    _check_spellings(findings, written, _Identifiers(patient, study, image_id, group), identity)
    label, class_names, of_labels = labels_of_task(
        rows, findings, task=task, classes=classes, rules=rules or FindingRules()
    )
    split = read_splits(rows, findings, patient, group)
    locators = read_locators(rows, findings, image_root, missing_allowed=missing_allowed)
    measured = read_measured(rows, findings)
    present = what_is_there(
        rows, findings, locators, report, measured, missing_allowed=missing_allowed
    )
    if findings.faults:
        raise CohortError(findings.faults)

    # A blank group is the patient
    units = patient_digest
    if group is not None:
        units = np.where(group == "", patient_digest, pseudonyms.digests("group", group))

    # Nobody else holds these arrays: protected here, they need no copy
    study_digest = pseudonyms.digests("study", study)
    image_digest = pseudonyms.digests("image", image_id)
    for column in (
        patient_digest,
        study_digest,
        image_digest,
        units,
        locators,
        report,
        label,
        split,
    ):
        column.flags.writeable = False

    identifiers = (patient, study, image_id, units)
    return Cohort(
        name=name,
        patient=patient_digest,
        study=study_digest,
        image_id=image_digest,
        group=units,
        image=locators,
        report=report,
        label=label,
        split=split,
        classes=class_names,
        task=task,
        subgroups=rows.subgroups,
        show_images=show_images,
        digest=content_digest(rows, identifiers, label, split, class_names, task, measured),
        key_id=pseudonyms.key_id,
        notices=(
            *rows.notices,
            *of_labels,
            *missing_notices(present),
            *_spelling_notices(rows, written, patient),
            *_notices(rows, label, study, patient),
        ),
        spelling=spelling_of(identity, patient, study, pseudonyms),
        table=measured.values,
        table_columns=measured.columns,
        categorical=measured.categorical,
        modalities=(IMAGE, TEXT, TABLE) if measured.columns else (IMAGE, TEXT),
        present=present,
    )


@dataclass(frozen=True, eq=False)
class _Identifiers:
    """The identifier columns, n each; `group` is None where there are no groups."""

    patient: Strings
    study: Strings
    image_id: Strings
    group: Strings | None


def _check_spellings(
    findings: Findings, written: _Identifiers, read: _Identifiers, identity: Identity
) -> None:
    """Faults of damaged identifiers, as written, and of alike ones, as read by the user's rules."""
    check_undamaged(findings, "patient", written.patient, identity)
    check_undamaged(findings, "study", written.study, identity)
    check_undamaged(findings, "image_id", written.image_id, identity)

    # Two studies of one patient, but not studies of two patients, may be one
    check_spellings(findings, "patient", read.patient, identity)
    check_spellings(findings, "study", read.study, identity, within=read.patient)
    if written.group is not None and read.group is not None:
        check_undamaged(findings, "group", written.group, identity)
        check_spellings(findings, "group", read.group, identity)


def _spelling_notices(rows: RawRows, written: _Identifiers, patient: Strings) -> tuple[str, ...]:
    """What was done to identifiers, counted."""
    columns = [(rows.patient, written.patient), (rows.study, written.study)]
    columns.append((rows.image_id, written.image_id))
    if rows.group is not None and written.group is not None:
        columns.append((rows.group, written.group))

    notices = []
    hidden = len(hidden_marks(columns))
    if hidden:
        notices.append(
            f"{hidden} rows have identifiers with invisible marks or decomposed characters, which do not count"
        )

    # A group of nan would have joined people who have none
    if rows.group is not None and written.group is not None:
        named = np.array([bool(cell.strip()) for cell in rows.group], dtype=bool)
        missing = int(np.sum(named & (written.group == "")))
        if missing:
            notices.append(
                f"{missing} rows have a word for a missing value as their group, which is then the patient alone"
            )

    # Spellings that the user's rules or mapping brought together
    spellings = len(codes(written.patient)[1])
    people = len(codes(patient)[1])
    if spellings != people:
        notices.append(f"{spellings} spellings of patients' identifiers name {people} patients")
    return tuple(notices)


def _check_identifiers(
    findings: Findings, patient: Strings, study: Strings, image_id: Strings
) -> None:
    """Faults of identifiers: blank, repeated, or a study of two patients."""
    if len(patient) == 0 and not findings.faults:
        findings.faults.append(Fault("the cohort has no rows"))

    # Blank cells
    findings.add(blank(patient), "patient", "the identifier is blank")
    findings.add(blank(study), "study", "the identifier is blank")
    findings.add(blank(image_id), "image_id", "the identifier is blank")

    # Contradictions
    findings.add(
        repeated(image_id), "image_id", "the image identifier occurs twice", compared=image_id
    )
    findings.add(
        changed_within(study, patient),
        "study",
        "the study belongs to two patients",
        do="Make study identifiers unique across patients.",
        compared=study,
    )


def _reports(findings: Findings, *, missing_allowed: bool) -> Strings:
    """The reports, "" where there is none; a fault for each of these unless they are allowed."""
    # Each text once in memory: the images of a study have one report
    code, distinct = codes(findings.rows.report)
    reports = distinct[code]
    without_text = np.array([is_missing_text(report) for report in distinct], dtype=bool)[code]
    if missing_allowed:
        return np.where(without_text, "", reports)
    findings.add(
        np.flatnonzero(without_text),
        "report",
        "the report is empty",
        do="Leave out rows without a report, or keep them with --cohort.missing allow.",
    )
    return reports


def _notices(rows: RawRows, label: Any, study: Strings, patient: Strings) -> tuple[str, ...]:
    """What a reader of results should know about the rows, without identifiers."""
    # Labels and reports of a study should be the same on all of its images
    unknown_labels = int(np.sum(~known(label)))
    label_conflicts = len(set(study[changed_within(study, _numbered(label))]))
    report_conflicts = len(set(study[changed_within(study, rows.report)]))

    # An image file of two patients, and characters that an earlier conversion lost
    lost_characters = sum("\ufffd" in report for report in rows.report)
    shared_images = 0
    if rows.image is not None:
        shared_images = len(changed_within(stripped(rows.image), patient))

    counts = {
        "rows have no known label": unknown_labels,
        "studies have images with different labels": label_conflicts,
        "studies have images with different reports": report_conflicts,
        "reports hold characters that were lost in an earlier conversion (U+FFFD)": lost_characters,
        "rows use an image file of another patient": shared_images,
    }

    # Only what occurs
    return tuple(f"{count} {what}" for what, count in counts.items() if count)


def _numbered(label: Any) -> Ints:
    """A number for each row's label, equal where the labels are the same to the bit."""
    plain = np.ascontiguousarray(label)
    if plain.ndim == 1 and plain.dtype == np.int64:
        return plain
    columns = plain.reshape(len(plain), -1).view(f"i{plain.itemsize}")
    return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)
