"""The embedded cohort: generated chest radiographs and reports of any number of patients; no real patient is in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from forgetmi.cohort.finding_columns import CHEXPERT, Blank, Uncertain
from forgetmi.cohort.phantom.measurements import CATEGORICAL, NUMERIC
from forgetmi.cohort.phantom.patient import CAUSES, GRADES
from forgetmi.cohort.synthetic_making import TABLE, generator_digest, make_synthetic
from forgetmi.cohort.table import TableCohort
from forgetmi.core.cache_folder import COHORTS
from forgetmi.core.checked_folder import made_once
from forgetmi.core.cohort import Cohort
from forgetmi.core.files import default_cache
from forgetmi.core.ranges import Seed
from forgetmi.core.serialization import LATER

Task = Literal["grades", "classes", "findings"]


@dataclass(frozen=True)
class SyntheticCohort:
    """Generated radiographs and reports, made once and then read from a cache.

    Use it to try anything without data: a compact model memorises its training patients while it stays far from
    perfect on others, which is the regime in which forgetting can be measured.
    """

    patients: int = 270
    """Number of patients, 1 to 1,000,000; 270 have about 1,200 images."""
    seed: Seed = 0
    """Root seed; a patient depends on the seed, its own number, the image size and the kind of labels alone."""
    size: int = 64
    """Side of the square images in pixels, 16 to 2048."""
    task: Task = "grades"
    """What the labels are: four grades of edema, four causes without an order, or fourteen findings."""
    reference_patients: int = 0
    """Number of additional never-seen patients (split "reference"), 0 to 1,000,000; they change no other patient."""
    uncertain: Uncertain = field(default="ignore", metadata=LATER)
    """What -1 counts as in findings: ignore = unknown, zero = absent, one = present."""
    blank: Blank = field(default="zero", metadata=LATER)
    """What a finding that is not mentioned counts as: unknown, or zero = absent."""
    measured: bool = field(default=False, metadata=LATER)
    """Whether each study also has age, sex, vital signs and laboratory values, some of them missing; nothing else
    depends on it."""
    films_missing: float = field(default=0.0, metadata=LATER)
    """Share of patients without any film, 0 to below 1; their reports, labels and values stay."""
    cache: Path | None = None
    """Folder to keep generated cohorts in; default: $FORGETMI_CACHE, else forgetmi in the user's cache folder."""
    key_file: Path | None = None
    """Secret key of the identifier digests; default: $FORGETMI_KEY_FILE, else your own user-level key."""

    def load(self) -> Cohort:
        """Generate the cohort unless the cache has it undamaged, and read it.

        Raises:
            CohortError: An option is out of its range.
        """
        options = {
            "patients": self.patients,
            "seed": self.seed,
            "size": self.size,
            "task": self.task,
            "reference_patients": self.reference_patients,
            "measured": self.measured,
            "films_missing": self.films_missing,
        }

        # A cached cohort is named by its options and by the code that generated it
        named = f"{sorted(options.items())} {generator_digest()}"
        digest = hashlib.sha256(named.encode()).hexdigest()[:24]
        directory = (self.cache or default_cache()) / COHORTS / digest
        made_once(directory, lambda folder: make_synthetic(folder, **options))

        return synthetic_table(
            directory,
            task=self.task,
            key_file=self.key_file,
            uncertain=self.uncertain,
            blank=self.blank,
            measured=self.measured,
            films_missing=self.films_missing,
        ).load()


def synthetic_table(
    directory: Path,
    *,
    task: Task = "grades",
    key_file: Path | None = None,
    uncertain: Uncertain = "ignore",
    blank: Blank = "zero",
    measured: bool = False,
    films_missing: float = 0.0,
) -> TableCohort:
    """How to read what `make_synthetic` wrote; uncertain and blank are about findings, see `TableCohort`."""
    if task == "findings":
        labels: dict[str, Any] = {"labels": CHEXPERT, "uncertain": uncertain, "blank": blank}
    else:
        labels = {"classes": GRADES if task == "grades" else CAUSES}
    if measured:
        labels |= {"numeric": NUMERIC, "categorical": CATEGORICAL}
    return TableCohort(
        path=directory / TABLE,
        split="split",
        subgroups=("sex", "age", "view"),
        task=task,
        **labels,
        missing="allow" if films_missing else "refuse",
        show_images=True,
        key_file=key_file,
        name="synthetic",
    )
