"""``forgetmi where``: every artefact below some folders that depends on people of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable
from forgetmi.run.console import echo

NOT_SEARCHED = (
    "Not searched: other folders, such as that of the cache of decoded films (forgetmi cache forget), and what other "
    "programs made of these models or data."
)


@dataclass(frozen=True)
class WhereOptions:
    """Options of ``forgetmi where``.

    Args:
        folders: Folders to search: services, runs, pools, ledgers, cohorts.
        list: CSV or Parquet with a column patient_id (or study_id) of those to look for, or of keyed digests.
        key_file: The identifier key; empty = as for a cohort.
        json: Print one JSON object on stdout.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    list: Path
    key_file: Path | None = None
    json: bool = False


def where(argv: Sequence[str]) -> None:
    """Print where people of a list are left."""
    options = command_line(
        WhereOptions,
        argv,
        prog="forgetmi where",
        description="Every model, log, pool, cache, signal, record, ledger and file below some folders that depends on "
        "people of a list, and what can be done about each. Nothing is changed.",
    )
    missing = [folder for folder in options.folders if not folder.is_dir()]
    if missing or not options.folders:
        faults = [Fault("this is no folder", where=folder.name) for folder in missing]
        raise SpecError(faults or [Fault("no folder is named", do="Name folders to search.")])

    # What reads checkpoints and tables is imported after the help was printed
    from forgetmi.cohort.identifiers import Pseudonyms, load_key
    from forgetmi.cohort.listed_people import read_people
    from forgetmi.run.where import where as find

    people = read_people(options.list, Pseudonyms(load_key(options.key_file)))
    with json_output(options.json) as result:
        artefacts: list[dict[str, Any]] = []
        for folder in options.folders:
            for artefact in find(folder, people):
                artefacts.append(
                    {"folder": folder.resolve().name, **asdict(artefact), "to_do": artefact.to_do}
                )
        result.update(people=sorted(people.digests), artefacts=artefacts)

        for one in artefacts:
            concerned = f", {len(one['people'])} of them" if one["people"] else ""
            echo(printable(f"{one['folder']}/{one['path']}"))
            echo(f"  {one['what']}{concerned}: {one['to_do']}")
        echo(f"{len(artefacts)} artefacts for {len(people.digests)} listed. {NOT_SEARCHED}")
