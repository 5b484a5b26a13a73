"""``forgetmi cohort check``: read every row and decode every image."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.commands.cohort.wording import describe
from forgetmi.commands.options import NoOptions, parse
from forgetmi.core.cache_folder import FORMER_FILMS, files_in_cache
from forgetmi.core.cohort import Cohort
from forgetmi.core.files import default_cache
from forgetmi.core.printable import printable
from forgetmi.run.console import ProgressDisplay, echo


def check(argv: Sequence[str]) -> None:
    """Read every row and decode every image."""
    spec, _ = parse(
        NoOptions,
        argv,
        prog="forgetmi cohort check",
        only=("cohort", "images", "workers", "runner", "address"),
        description="Read every row and decode every image, on all cores; all faults are reported at once.",
    )

    # The image decoders are imported after the help was printed.
    from forgetmi.data.image_store import build_image_store
    from forgetmi.run.film_workers import film_workers

    cohort: Cohort = spec.cohort.load()
    with ProgressDisplay() as display:
        store = build_image_store(
            cohort,
            spec.images,
            cache=default_cache(),
            progress=lambda done, total: display.update("images", done, total),
            spread=film_workers(spec.resources),
        )

    echo(describe(cohort))
    for notice, rows in store.notices.items():
        echo(f"  note: {printable(notice)} ({rows} images)")
    if store.damaged:
        echo(f"  note: {store.damaged} images or files of the cache were damaged and decoded again")
    if files_in_cache(default_cache(), FORMER_FILMS):
        echo(
            "  note: the cache holds films of an earlier version, no longer used; forgetmi cache show says more"
        )
    echo("Every row can be used and every image can be decoded.")
