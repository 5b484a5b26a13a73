"""``forgetmi record`` and ``forgetmi verify``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.scores import Evaluation
from forgetmi.evidence.record import NOT_AUDITED
from forgetmi.evidence.verify import verify as check_record
from forgetmi.run import recompute
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.pipeline import Run
from forgetmi.run.record import Recording, _said, check, keep_record
from forgetmi.run.run_data import load_data
from forgetmi.run.spec import spec_of


@dataclass(frozen=True)
class RecordOptions:
    """Options of ``forgetmi record``.

    Args:
        run: Directory of a finished run.
        sign_key: PEM file of an Ed25519 private key to sign the record with.
        previous: The record (or run directory) before it in the chain.
    """

    run: tyro.conf.Positional[Path]
    sign_key: Path | None = None
    previous: Path | None = None


def record(argv: Sequence[str]) -> None:
    """Make (and sign) the record of a finished run."""
    own = command_line(
        RecordOptions,
        argv,
        prog="forgetmi record",
        description="Make the record of a finished run, e.g. to sign it after its report was read.",
    )
    how = Recording(own.sign_key, own.previous)
    check(how)
    spec, directory = spec_of(own.run), RunDirectory(own.run)
    if not directory.report.exists():
        raise SpecError(
            Fault(
                "the run is not finished",
                where=own.run.name,
                why="it has no report",
                do="Give the run's command again; it goes on where it stopped.",
            )
        )
    cohort, partition = load_data(spec)
    evaluation = Evaluation.from_json(directory.metrics.read_text(encoding="utf-8"))
    echo(keep_record(Run(directory, cohort, partition, evaluation), spec, how))


@dataclass(frozen=True)
class VerifyOptions:
    """Options of ``forgetmi verify``.

    Args:
        record: record.json, or the run directory it lies in.
        key: The signer's public key (PEM), from a source you trust.
        previous: Records before it in the chain, in any order.
        recompute: What to compute again from the stored signals: metrics, the verdict, or nothing.
    """

    record: tyro.conf.Positional[Path]
    key: Path | None = None
    previous: tuple[Path, ...] = ()
    recompute: Literal["metrics", "verdict", "nothing"] = "nothing"


def verify(argv: Sequence[str]) -> None:
    """Check a record, its chain, and every file it names."""
    own = command_line(
        VerifyOptions,
        argv,
        prog="forgetmi verify",
        description="Check a record's form, digest, signature and chain, every file it names and every "
        "proof; with --recompute, compute a part again from the stored signals.",
    )
    checked = check_record(own.record, key=own.key, previous=own.previous)
    root = own.record if own.record.is_dir() else own.record.parent
    done, unchecked = list(checked.done), list(checked.open)
    if own.recompute == "metrics":
        numbers, largest = recompute.metrics(root, checked.record)
        done.append(
            f"{numbers} numbers computed again from the stored signals are the same"
            + (f" (largest difference {largest:.0e})" if largest else "")
        )
    else:
        unchecked.append("whether the metrics follow from the signals: --recompute metrics")
    if own.recompute == "verdict":
        done.append(
            f"the verdict follows from the stored signals: {recompute.verdict(root, checked.record)}"
        )
    elif checked.record.decision.outcome != NOT_AUDITED:
        unchecked.append("whether the verdict follows from the signals: --recompute verdict")
    unchecked.append(
        "whether the signals are those of the models: that needs the models, the cohort and its key"
    )
    echo(
        "\n".join(
            [
                f"{_said(checked.record)}",
                *(f"  holds: {line}" for line in done),
                *(f"  not checked: {line}" for line in unchecked),
            ]
        )
    )
