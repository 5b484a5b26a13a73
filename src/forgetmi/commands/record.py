"""``forgetmi record``: make (and sign) the record of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.scores import Evaluation
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import spec_of


@dataclass(frozen=True)
class RecordOptions:
    """Options of ``forgetmi record``.

    Args:
        run: Directory of a finished run.
        sign_key: PEM file of an Ed25519 private key to sign the record with.
        previous: The record (or run directory) before it in the chain.
        replace: Replace a signed record by a new one, which follows it; the old one is kept in the run's folder.
    """

    run: tyro.conf.Positional[Path]
    sign_key: Path | None = None
    previous: Path | None = None
    replace: bool = False


def record(argv: Sequence[str]) -> None:
    """Make (and sign) the record of a finished run."""
    options = command_line(
        RecordOptions,
        argv,
        prog="forgetmi record",
        description="Make the record of a finished run, e.g. to sign it after its report was read.",
    )

    # What reads a run is imported after the help was printed.
    from forgetmi.run.pipeline import Run
    from forgetmi.run.record_keeping import Recording, check, keep_record, keep_stored
    from forgetmi.run.run_data import load_data

    # A key that cannot be used is found before the run is read
    recording = Recording(options.sign_key, options.previous, options.replace)
    check(recording)

    spec, directory = spec_of(options.run), RunDirectory(options.run)
    if not directory.report.exists():
        raise SpecError(
            Fault(
                "the run is not finished",
                where=options.run.name,
                why="it has no report",
                do="Give the run's command again; it goes on where it stopped.",
            )
        )

    # A record that holds is signed as it is; no cohort is read for that
    kept = keep_stored(directory, recording)
    if kept:
        echo(kept)
        return

    # The record follows from what the run has stored; nothing is measured again
    cohort, partition = load_data(spec)
    evaluation = Evaluation.read(directory.metrics)
    echo(keep_record(Run(directory, cohort, partition, evaluation), spec, recording))
