"""Copies of what is to be forgotten that would live on under another patient: images, and distinctive report texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Strings, codes
from forgetmi.core.cohort import Cohort
from forgetmi.core.near_duplicates import DuplicateKind, NearDuplicate, NearDuplicates
from forgetmi.core.partition import SETS, Partition
from forgetmi.data.film_portions import Spread
from forgetmi.data.image_copies import SIDE, same_images
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.report_copies import same_reports
from forgetmi.data.window import FIRST


def find_duplicates(
    cohort: Cohort,
    partition: Partition,
    *,
    cache: Path,
    images: ImagePreprocessing | None = None,
    progress: Callable[[int, int], None] | None = None,
    spread: Spread | None = None,
) -> NearDuplicates:
    """List what is forgotten and lives on as a copy elsewhere.

    Run it before unlearning: a model cannot forget what stays in its training data under another name. Images are known
    by their content, then by a perceptual hash (signs of the lowest frequencies of a 64-pixel image, relative to the
    cohort's mean), and candidates are confirmed by the correlation of their band-passed pixels. Reports are alike when
    most of their word 5-grams agree and enough of these occur in few patients, so that stock phrases do not count.

    Args:
        cohort: The cohort.
        partition: Its forgotten rows are compared with all others.
        cache: Folder of prepared images.
        images: How the models' images are prepared, whose window is used here, too; default: the first of each film.
        progress: Called with (images prepared, total number of images).
        spread: Decodes images in several processes.

    Raises:
        CohortError: Images cannot be read.
    """
    window = (images or ImagePreprocessing()).reading.get("window", FIRST)
    preprocessing = ImagePreprocessing(size=SIDE, fit="stretch", window=window)
    store = build_image_store(cohort, preprocessing, cache=cache, progress=progress, spread=spread)

    # The set of each row, and whether it is forgotten or in any other.
    sets = np.full(len(cohort), "", dtype=object)
    for name in SETS:
        sets[partition.rows(name)] = name
    forgotten = sets == "forget"
    other = ~forgotten & (sets != "")

    def pair(
        kind: DuplicateKind, similarity: float, row: int, other_row: int, items: Strings
    ) -> NearDuplicate:
        return NearDuplicate(
            kind,
            round(similarity, 4),
            patient=str(cohort.patient[row]),
            other_patient=str(cohort.patient[other_row]),
            other_set=sets[other_row],
            item=str(items[row]),
            other_item=str(items[other_row]),
        )

    pairs = []

    # Images, of rows that have one.
    has_image = store.shard >= 0
    forgotten_images = np.flatnonzero(forgotten & has_image)
    other_images = np.flatnonzero(other & has_image)
    for row, other_row, kind, similarity in same_images(store, forgotten_images, other_images):
        pairs.append(pair(kind, similarity, row, other_row, cohort.image_id))

    # Reports, one row a study.
    _, first_rows = np.unique(codes(cohort.study)[0], return_index=True)
    reports = first_rows[forgotten[first_rows]]
    other_reports = first_rows[other[first_rows]]
    patient, _ = codes(cohort.patient)
    for row, other_row, similarity in same_reports(cohort.report, patient, reports, other_reports):
        pairs.append(pair("same report", similarity, row, other_row, cohort.study))

    # The most alike first.
    pairs.sort(key=lambda found: (-found.similarity, found.item, found.other_item))
    return NearDuplicates(
        pairs=tuple(pairs),
        images=(len(forgotten_images), len(other_images)),
        reports=(len(reports), len(other_reports)),
    )
