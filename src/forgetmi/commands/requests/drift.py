"""``forgetmi requests drift``: what the requests so far have done to the model in service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.command_line import command_line
from forgetmi.core.printable import printable
from forgetmi.requests.entries import Step
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.run.console import echo


@dataclass(frozen=True)
class DriftOptions:
    """Options of ``forgetmi requests drift``.

    Args:
        ledger: The ledger's file.
    """

    ledger: Path = LEDGER


def drift(argv: Sequence[str]) -> None:
    """What the requests so far have done to the model."""
    options = command_line(
        DriftOptions,
        argv,
        prog="forgetmi requests drift",
        description="The runs that closed requests, in order, and how the model in service changed.",
    )
    steps = Ledger(options.ledger, reading=True).steps()
    if not steps:
        echo("no run has closed a request yet")
        return

    # Each run should start from the model that the run before it left
    in_service = steps[0].before
    for step in steps:
        if step.before != in_service:
            echo("  (this run did not start from the model of the run before)")
        echo(_step_line(step))
        in_service = step.after

    # From the first original to the model in service now.
    first, last = steps[0], steps[-1]
    if first.auc_before is not None and last.auc is not None:
        echo(
            f"AUC on never-seen patients since the first request: {last.auc - first.auc_before:+.3f}. When it "
            "drifts below what you can accept, retrain once without everybody who withdrew."
        )


def _step_line(step: Step) -> str:
    return printable(
        f"{step.at[:10]}  {step.before[:8]} -> {step.after[:8]}  {len(step.requests)} requests  "
        f"AUC {_number(step.auc_before)} -> {_number(step.auc)}  gap {_number(step.gap)} "
        f"(retrained models {_number(step.floor)})  {step.verdict}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
