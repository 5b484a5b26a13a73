"""``forgetmi cache show``: what lies in the cache."""

from __future__ import annotations

from collections.abc import Sequence

from forgetmi.commands.command_line import command_line
from forgetmi.commands.options import NoOptions
from forgetmi.core.cache_folder import (
    CHECKPOINTS,
    COHORTS,
    FILMS,
    FORMER_FILMS,
    files_in_cache,
)
from forgetmi.core.files import default_cache
from forgetmi.run.console import echo

KINDS = {
    FILMS: "decoded films and their index",
    FORMER_FILMS: "decoded films of an earlier version, readable by others and no longer used",
    COHORTS: "generated cohorts",
    CHECKPOINTS: "converted checkpoints",
}


def show(argv: Sequence[str]) -> None:
    """Print the kinds of files in the cache, with their numbers and sizes; no film or patient is named."""
    command_line(NoOptions, argv, prog="forgetmi cache show", description="What lies in the cache.")

    cache = default_cache()
    echo(f"cache {cache}")
    for kind, name in KINDS.items():
        files = files_in_cache(cache, kind)
        mebibytes = sum(path.lstat().st_size for path in files) / 2**20
        if files or kind != FORMER_FILMS:
            echo(f"  {kind:<13} {len(files):>6} files {mebibytes:>10,.1f} MiB  {name}")

    if files_in_cache(cache, FORMER_FILMS):
        echo("forgetmi cache forget removes what an earlier version left, with any list.")
