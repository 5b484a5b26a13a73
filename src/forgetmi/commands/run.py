"""``forgetmi run``: train, retrain, unlearn, evaluate and report from one specification."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetmi.commands.entry_points import added_commands
from forgetmi.commands.json_output import json_output
from forgetmi.commands.options import parse
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import RunSpec, to_plain, write_yaml
from forgetmi.run.stored_spec import spec_text
from forgetmi.run.track import Kind, check_tracker


@dataclass(frozen=True)
class RunOptions:
    """Options of ``forgetmi run``.

    Args:
        out: Directory of the run; given again, an interrupted run goes on and a finished one is left as it is.
        dry_run: Refuse what the run would refuse before its first model, else print the resolved specification.
        sign_key: PEM file of an Ed25519 private key to sign the run's record with.
        previous: The record (or run directory) before this run's in a chain of records.
        replace: Replace a signed record that does not hold any more by a new one, which follows it.
        track: Also hand losses, step by step as they come, and scores to a tracker: wandb (offline unless WANDB_MODE
            says otherwise), mlflow or tensorboard; never an identifier, a text or a path.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    out: Path
    dry_run: bool = False
    sign_key: Path | None = None
    previous: Path | None = None
    replace: bool = False
    track: Kind = ""
    json: bool = False


def run(argv: Sequence[str]) -> None:
    """Train, retrain, unlearn, evaluate, report from one specification."""
    spec, options = parse(
        RunOptions,
        argv,
        prog="forgetmi run",
        description="Train the original and the retrained "
        f"references, unlearn, evaluate and report.{_other_configurations()}",
    )

    with json_output(options.json) as result:
        _run(spec, options, list(argv), result)


def _run(spec: RunSpec, options: RunOptions, argv: list[str], result: dict[str, Any]) -> None:
    """Carry a run out, or say what it would do."""
    # A tracker or a directory that cannot be used is refused before anything is imported; a dry run says all at once
    check_tracker(options.track)
    if not options.dry_run:
        directory = RunDirectory(options.out)
        directory.check_claim(spec_text(spec, directory))

    # What trains models is imported after the help was printed.
    from forgetmi.run.audit_stage import notice
    from forgetmi.run.finish import finish
    from forgetmi.run.live_track import live_tracker
    from forgetmi.run.record_keeping import Recording, check
    from forgetmi.run.run_models import model_names

    # A key that cannot be used is found before hours of work.
    recording = Recording(options.sign_key, options.previous, options.replace)
    check(recording)
    result.update(out=str(options.out.absolute()), dry_run=options.dry_run)
    if options.dry_run:
        from forgetmi.run.dry_run import check_run

        not_checked = check_run(spec, options.out)
        result.update(spec=to_plain(spec), not_checked=not_checked)
        print(write_yaml(spec), end="")
        for line in not_checked:
            print(f"note: not checked: {line}", file=sys.stderr)

        # Known beforehand, so that it can be noted elsewhere before the run begins
        if spec.audit.enabled:
            print(f"note: {notice(RunDirectory(options.out), spec.audit)}", file=sys.stderr)
        return

    folder = options.out / "tracking"
    with live_tracker(options.track, folder, {"seed": spec.seed}) as tracker:
        done = finish(spec, options.out, command=["forgetmi", "run", *argv], how=recording)
        result.update(result_of(done.directory, finished_before=done.finished_before))

        # The numbers of a run that was finished before are handed on once
        if tracker is not None and not (done.finished_before and folder.exists()):
            tracker.add_run(done.directory, model_names(spec))


def result_of(directory: RunDirectory, *, finished_before: bool) -> dict[str, Any]:
    """What ``--json`` says of a finished run."""
    from forgetmi.evidence.record_files import read_record

    record = read_record(directory.root)
    after = record.model("after")
    return {
        "finished_before": finished_before,
        "verdict": record.decision.outcome,
        "channels": dict(record.decision.channels),
        "patients": len(record.subjects.patients),
        "record": record.digest,
        "signer": record.signer,
        "model": str(directory.model(after.name)),
        "weights": after.weights,
        "report": str(directory.report),
        "metrics": str(directory.metrics),
    }


def _other_configurations() -> str:
    """What the help says of options by which entry points take ``forgetmi run`` over."""
    sentences = ""
    for command in added_commands():
        if command.verb == "run" and command.option:
            sentences += f" --{command.option} FILE reads another kind of configuration."
    return sentences
