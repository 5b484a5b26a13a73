"""``forgetmi pool risk``: whom the model in service remembers most."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from forgetmi.commands.command_line import command_line
from forgetmi.core.files import write_text
from forgetmi.core.ranges import Number
from forgetmi.run.console import echo

if TYPE_CHECKING:
    from forgetmi.run.pool_risk import PoolRisk


@dataclass(frozen=True)
class RiskOptions:
    """Options of ``forgetmi pool risk``.

    Args:
        pool: Directory of a finished pool.
        out: CSV file of all patients by keyed digest, one row a patient and channel.
        most: How many patients are printed, the most remembered ones first.
        resamples: Bootstrap resamples behind the intervals.
    """

    pool: tyro.conf.Positional[Path]
    out: Path | None = None
    most: Number = 10
    resamples: Number = 1000


def risk(argv: Sequence[str]) -> None:
    """Print how much the model in service remembers of its patients."""
    options = command_line(
        RiskOptions,
        argv,
        prog="forgetmi pool risk",
        description="How much the model in service knows of each patient it was trained on, beside models that never "
        "saw the patient: 0 = no more than of a stranger. Before anybody withdraws.",
    )

    # What reads signals is imported after the help was printed
    from forgetmi.run.pool_risk import pool_risk

    found = pool_risk(options.pool, resamples=options.resamples)
    for channel, memorised in found.by_channel.items():
        echo(f"{channel}: {len(memorised.patient)} patients, {memorised.never_seen} never seen")
        for row in found.groups[channel]:
            name = f"{row.column} {row.value}".strip() or "everybody"
            bounds = "not resolvable"
            if row.interval is not None:
                bounds = f"95 % interval {row.interval[0]:.2f} to {row.interval[1]:.2f}"
            echo(f"  {name}: mean {row.mean:.2f}, {bounds}, {row.patients} patients")

        order = memorised.value.argsort()[::-1][: options.most]
        for place in order:
            digest = str(found.digests[memorised.patient[place]])[:12]
            exposed = f"{memorised.exposed[place]:.0%} of never-seen patients are below"
            echo(f"    {digest}  {memorised.value[place]:.2f}  ({exposed})")
    for channel, reason in found.missing.items():
        echo(f"{channel}: not measured: {reason}")

    if options.out is not None:
        write_text(options.out, _table(found))
        echo(f"Patients: {options.out}")


def _table(found: PoolRisk) -> str:
    """All patients as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["patient", "channel", "memorised", "exposed"])
    for channel, memorised in found.by_channel.items():
        for place, code in enumerate(memorised.patient):
            value, exposed = memorised.value[place], memorised.exposed[place]
            writer.writerow([found.digests[code], channel, f"{value:.6f}", f"{exposed:.4f}"])
    return text.getvalue()
