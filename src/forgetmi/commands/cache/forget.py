"""``forgetmi cache forget``: remove from the cache what it holds of the patients of a forget list."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.commands.cache.show import KINDS
from forgetmi.commands.options import parse
from forgetmi.core.cache_folder import CHECKPOINTS, COHORTS, files_in_cache, remove_from_cache
from forgetmi.core.cohort import Cohort, ForgetRequest
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import default_cache, full_disk_explained
from forgetmi.run.console import echo

STAYS = """Not removed, because it is no part of the cache: image files and tables; folders of runs, benchmarks and
tunings (models, signals and records hold what was learned, and keyed digests); the ledger; copies of the cache."""


@dataclass(frozen=True)
class ForgetOptions:
    """Options of ``forgetmi cache forget``.

    Args:
        forget_list: CSV with a column patient_id (or study_id), or the list that forgetmi requests process wrote; the
            cohort must still name these patients.
        all: Remove everything in the cache, whosever it is; no list and no cohort are read.
    """

    forget_list: Path | None = None
    all: bool = False


def forget(argv: Sequence[str]) -> None:
    """Remove from the cache what it holds of the patients of a forget list, or everything."""
    spec, options = parse(
        ForgetOptions,
        argv,
        prog="forgetmi cache forget",
        only=("cohort",),
        description="Remove decoded films and index entries of the patients of a forget list from the cache; what is "
        "removed can be made again as long as the image files are there.",
    )
    if (options.forget_list is None) != options.all:
        raise SpecError(
            Fault(
                "what is to be removed is not clear",
                where="command line",
                do="Give either --forget-list LIST with the cohort's options, or --all.",
            )
        )

    with full_disk_explained("the cache"):
        if options.all:
            _forget_all(default_cache())
        else:
            _forget_listed(spec, options.forget_list)


def _forget_all(cache: Path) -> None:
    """Remove everything that forgetmi wrote into the cache."""
    for kind, files in remove_from_cache(cache, KINDS).items():
        echo(f"Removed: {files} files of {kind} ({KINDS[kind]}).")
    echo(STAYS)


def _forget_listed(spec: Any, forget_list: Path) -> None:
    """Remove what is held of the patients or studies of a list."""
    # What reads cohorts and images is imported after the help was printed.
    from forgetmi.cohort.forget_list import read_forget_list
    from forgetmi.cohort.identifiers import load_key
    from forgetmi.cohort.image_column import absent_images_allowed
    from forgetmi.data.cache_forgetting import forget_films

    with absent_images_allowed():
        cohort: Cohort = spec.cohort.load()
    key = load_key(getattr(spec.cohort, "key_file", None))
    request = read_forget_list(forget_list, cohort=cohort, key=key)

    cache = default_cache()
    rows = _rows(cohort, request)
    removed = forget_films(cache, [str(locator) for locator in cohort.image[rows]])
    generated = _remove_generated(spec, cohort)

    # Whose: keyed digests, as everywhere.
    kind, column = ("patient", cohort.patient) if request.patients else ("study", cohort.study)
    films = np.array(removed.films, np.int64)
    for digest in request.patients or request.studies:
        own = column[rows] == digest
        echo(f"  {kind} {digest}: {own.sum()} images, {films[own].sum()} decoded films removed")

    echo(
        f"Removed: {removed.images} decoded films, in all sizes they were prepared in; "
        f"{removed.entries} entries of the index."
    )
    besides = {
        "decoded films to which the index no longer led": removed.untraced,
        "decoded films that were damaged": removed.damaged,
        "damaged files of decoded films": removed.unreadable,
        "unfinished files": removed.leftovers,
        "files of an earlier version": removed.former,
        "files of the generated cohort": generated,
    }
    for name, number in besides.items():
        if number:
            echo(f"Removed besides: {number} {name}.")

    # What may be left, and where.
    if removed.absent:
        echo(
            f"{removed.absent} image files are gone or cannot be read, and the cache knows nothing of their "
            "paths. If they were read under other paths, only forgetmi cache forget --all is sure to remove them."
        )
    checkpoints = len({path.parent for path in files_in_cache(cache, CHECKPOINTS)})
    if checkpoints:
        echo(
            f"{checkpoints} converted checkpoints stay: models may remember whom they were trained on. "
            "forgetmi cache forget --all removes them."
        )
    echo(STAYS)


def _rows(cohort: Cohort, request: ForgetRequest) -> Any:
    """Rows of the cohort that the request names, Int[n]."""
    named = np.isin(cohort.patient, request.patients) | np.isin(cohort.study, request.studies)
    return np.flatnonzero(named)


def _remove_generated(spec: Any, cohort: Cohort) -> int:
    """Remove a generated cohort from the cache, if it is the one the list is of; the number of its files."""
    from forgetmi.data.decode import split_locator

    folder = (getattr(spec.cohort, "cache", None) or default_cache()) / COHORTS
    own = {Path(split_locator(str(locator))[0]).parent for locator in cohort.image}

    removed = 0
    for path in files_in_cache(folder.parent, COHORTS):
        if path.parent in own:
            path.unlink(missing_ok=True)
            removed += 1

            # With its last file, the folder goes.
            with suppress(OSError):
                path.parent.rmdir()
    return removed
