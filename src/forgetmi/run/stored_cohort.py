"""What a run keeps of its cohort, so that its pages can be written again where the cohort is not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from forgetmi.core.arrays import Strings
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import ForgetMIError
from forgetmi.core.files import write_json
from forgetmi.core.json_text import read_json
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.partition import Partition
from forgetmi.core.serialization import from_plain
from forgetmi.core.signals import Signals
from forgetmi.run.directory import RunDirectory
from forgetmi.run.recompute import stored_partition
from forgetmi.run.run_data import load_data
from forgetmi.run.spec import RunSpec


@dataclass(frozen=True)
class CohortFacts:
    """The content of cohort.json: all of a cohort that is not one value a row; see `forgetmi.core.cohort.Cohort`."""

    name: str
    classes: tuple[str, ...]
    task: str
    show_images: bool
    digest: str
    key_id: str
    notices: tuple[str, ...]


def write_cohort_facts(directory: RunDirectory, cohort: Cohort) -> None:
    """Keep in a run what its pages say of the cohort; no identifier, no text of a report, no path."""
    facts = {}
    for field in dataclasses.fields(CohortFacts):
        facts[field.name] = getattr(cohort, field.name)
    write_json(directory.cohort, facts)


def stored_data(spec: RunSpec, directory: RunDirectory) -> tuple[Cohort, Partition]:
    """Cohort and partition of a finished run as its pages need them, from what the run stored.

    Rows have patient, study and label, but no report. Images are named only where example films may be shown and the
    cohort is still there, unchanged. A run of an earlier version, which kept nothing of its cohort, reads it.

    Args:
        spec: The run.
        directory: Its directory.

    Raises:
        ForgetMIError: What is stored cannot be read.
    """
    if not directory.cohort.exists():
        return load_data(spec)

    values = read_json(directory.cohort, what="what is kept of the cohort", do="Restore the file.")
    facts = from_plain(CohortFacts, values, where=directory.cohort.name, complete=True)
    signals = Signals.load(directory.signals(ORIGINAL))
    partition = stored_partition(directory.root, signals)

    # One value a row: of the signals where they have it
    nothing = np.full(len(signals), "", dtype=object)
    cohort = Cohort(
        **_values(facts),
        patient=signals.patient,
        study=signals.study,
        label=signals.label,
        group=signals.patient,
        image=_images(spec, facts, nothing),
        image_id=nothing,
        report=nothing,
        split=nothing,
        subgroups={},
    )
    return cohort, partition


def _values(facts: CohortFacts) -> dict[str, Any]:
    return {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}


def _images(spec: RunSpec, facts: CohortFacts, nothing: Strings) -> Strings:
    """Where the images are, if they may be shown and the cohort is there, unchanged; else nothing for each row."""
    if not facts.show_images:
        return nothing

    try:
        cohort = spec.cohort.load()
    except ForgetMIError:
        return nothing
    return cohort.image if cohort.digest == facts.digest else nothing
