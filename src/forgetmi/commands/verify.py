"""``forgetmi verify``: check a record, its chain, and every file it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.commands.json_output import json_output
from forgetmi.core.printable import printable
from forgetmi.evidence.record import NOT_AUDITED
from forgetmi.run.console import echo


@dataclass(frozen=True)
class VerifyOptions:
    """Options of ``forgetmi verify``.

    Args:
        record: record.json, or the run directory it lies in.
        key: The signer's public key (PEM), from a source you trust; --key again for each further key of the chain.
        previous: Records before it in the chain, in any order.
        deleted: Models whose folders were deleted on purpose, e.g. --deleted original; without, a folder that is gone
            is a fault.
        recompute: What to compute again from the stored signals: metrics, the verdict, or nothing.
        json: Print one JSON object on stdout, everything else on stderr; see docs/requests.md.
    """

    record: tyro.conf.Positional[Path]
    key: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    previous: tuple[Path, ...] = ()
    deleted: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    recompute: Literal["metrics", "verdict", "nothing"] = "nothing"
    json: bool = False


def verify(argv: Sequence[str]) -> None:
    """Check a record, its chain, and every file it names."""
    options = command_line(
        VerifyOptions,
        argv,
        prog="forgetmi verify",
        description="Check a record's form, digest, signature and chain, every file it names and every "
        "proof; with --recompute, compute a part again from the stored signals.",
    )

    with json_output(options.json) as result:
        _verify(options, result)


def _verify(options: VerifyOptions, result: dict[str, Any]) -> None:
    """Check, and say what holds and what was not checked."""
    # What reads and recomputes is imported after the help was printed.
    from forgetmi.evidence.verify import verify as check_record
    from forgetmi.run import recompute, recompute_verdict
    from forgetmi.run.record_keeping import summary

    # Form, digest, signature, chain, files and proofs
    checked = check_record(
        options.record, key=options.key, previous=options.previous, deleted=options.deleted
    )
    root = options.record if options.record.is_dir() else options.record.parent
    holds, unchecked = list(checked.done), list(checked.open)

    # The metrics again from the stored signals, on request
    if options.recompute == "metrics":
        numbers, largest = recompute.metrics(root, checked.record)
        line = f"{numbers} numbers computed again from the stored signals are the same"
        if largest:
            line += f" (largest difference {largest:.0e})"
        holds.append(line)
    else:
        unchecked.append("whether the metrics follow from the signals: --recompute metrics")

    # A verdict can be computed again only where the run was audited
    audited = checked.record.decision.outcome != NOT_AUDITED
    if options.recompute == "verdict":
        verdict = recompute_verdict.verdict(root, checked.record)
        holds.append(f"the verdict follows from the stored signals: {verdict}")
    elif audited:
        unchecked.append("whether the verdict follows from the signals: --recompute verdict")

    unchecked.append(
        "whether the signals are those of the models: that needs the models, the cohort and its key"
    )

    # What holds, and what this command cannot show
    record = checked.record
    result.update(
        record=record.digest,
        number=record.number,
        verdict=record.decision.outcome,
        signer=record.signer,
        holds=holds,
        not_checked=unchecked,
    )
    echo(printable(summary(checked.record)))
    for line in holds:
        echo(f"  holds: {printable(line)}")
    for line in unchecked:
        echo(f"  not checked: {printable(line)}")
