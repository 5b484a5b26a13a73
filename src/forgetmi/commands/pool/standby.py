"""``forgetmi pool standby``: which members never saw anybody of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.run.console import echo


@dataclass(frozen=True)
class StandbyOptions:
    """Options of ``forgetmi pool standby``.

    Args:
        pool: Directory of a pool, best one made with --keep-models.
        list: CSV or Parquet with a column patient_id of those who withdraw, or of keyed digests.
        key_file: The identifier key; empty = as for a cohort.
    """

    pool: tyro.conf.Positional[Path]
    list: Path
    key_file: Path | None = None


def standby(argv: Sequence[str]) -> None:
    """Print the members that may serve at once."""
    options = command_line(
        StandbyOptions,
        argv,
        prog="forgetmi pool standby",
        description="Members that were trained on nobody of a list: each may serve at once, while the model in service "
        "is made to forget.",
    )

    # What reads tables is imported after the help was printed
    from forgetmi.cohort.identifiers import Pseudonyms, load_key
    from forgetmi.cohort.listed_people import read_people
    from forgetmi.run.pool_standby import count_unknown, standbys

    people = read_people(options.list, Pseudonyms(load_key(options.key_file)))
    found = standbys(options.pool, people)
    if unknown := count_unknown(options.pool, people):
        echo(
            f"note: {unknown} of the {len(people.digests)} listed are not among the patients of the pool: no member "
            "was trained on them, if list and key file are the right ones."
        )
    if not found:
        echo(
            f"No member was trained on none of the {len(people.digests)} listed: they lie in several folds of every "
            "repetition."
        )
    for one in found:
        where = "its weights were not kept (--keep-models)"
        if one.checkpoint is not None:
            where = str(one.checkpoint)
        echo(f"{one.member.name} was trained on none of them: {where}")
