"""``forgetmi audit``: audit finished runs again from their stored signals, several pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.output import check_output


@dataclass(frozen=True)
class AuditOptions:
    """Options of ``forgetmi audit``.

    Args:
        runs: Directories of finished runs of one cohort with disjoint forget sets (``--partition.draw 0``, 1, 2 ...).
        out: Folder for audit.json and the pages; empty = report-2 in the only run, or the next number that is free: a
            record names the run's own audit and pages, which stay. Needed for several runs or with shadow models.
        shadows: Directory that ``forgetmi shadows`` wrote.
        verifiers: Directory that ``forgetmi shadows --retained-share`` wrote.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    out: Path | None = None
    shadows: Path | None = None
    verifiers: Path | None = None
    json: bool = False


def audit(argv: Sequence[str]) -> None:
    """Audit finished runs again from their stored signals; no model is run."""
    options = command_line(
        AuditOptions,
        argv,
        prog="forgetmi audit",
        description="Audit finished runs again from their stored signals, several pooled; no model is "
        "run. The rule is the one the runs declared beforehand.",
    )
    if not options.runs:
        raise SpecError(
            Fault("no run is given", where="command line", do="Give the --out of one or more runs.")
        )
    if options.out is None and (len(options.runs) > 1 or options.shadows or options.verifiers):
        raise SpecError(
            Fault(
                "--out is needed for several runs or with shadow models",
                where="command line",
                why="a run's own audit is not replaced by another",
            )
        )

    # The attacks and pages are imported after the help was printed.
    from forgetmi.commands.audit_runs import audit_again

    with json_output(options.json) as result:
        if options.out is not None:
            check_output(options.out, folder=True)
        result.update(
            audit_again(
                options.runs, out=options.out, shadows=options.shadows, verifiers=options.verifiers
            )
        )
