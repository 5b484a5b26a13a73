"""``forgetmi requests advise``: compare the ways to carry requests out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable
from forgetmi.evidence.record_files import read_record
from forgetmi.requests.advise import Option
from forgetmi.requests.advise import advise as compare_ways
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.run.console import echo


@dataclass(frozen=True)
class AdviseOptions:
    """Options of ``forgetmi requests advise``.

    Args:
        runs: Directories of finished runs on comparable data, whose costs are compared.
        patients: Patients of the batch, 0 or more; 0 = those of all open requests.
        shards: Shards of a SISA model, 1 or more, where none was measured.
        slices: Its slices, 1 or more.
        ledger: The ledger's file; not read where --patients is given.
    """

    runs: tuple[Path, ...]
    patients: int = 0
    shards: int = 5
    slices: int = 3
    ledger: Path = LEDGER


def advise(argv: Sequence[str]) -> None:
    """Compare the ways to carry requests out."""
    options = command_line(
        AdviseOptions,
        argv,
        prog="forgetmi requests advise",
        description="Compare retraining, SISA and unlearning by the measured cost of finished runs, and "
        "by risk.",
    )
    if min(options.shards, options.slices) < 1 or options.patients < 0:
        raise SpecError(
            Fault("a number is out of range", do="Shards and slices from 1, patients from 0.")
        )

    # Without a number, as many patients as the open requests name
    patients = options.patients
    if not patients:
        ledger = Ledger(options.ledger, reading=True)
        patients = len(ledger.open_patients())
        echo(_state_of(ledger))
    records = [read_record(path) for path in options.runs]
    ways = compare_ways(records, patients=patients, shards=options.shards, slices=options.slices)

    echo(f"for {patients} patients in one batch:")
    # The cheapest way comes first
    for way in ways:
        echo(printable(_cost_line(way)))
        echo(f"    risk: {printable(way.risk)}")
    if all(way.share_of_cheapest is None for way in ways):
        echo(
            "The cheapest exact retraining is not measured: add a run of --method short_retrain to compare with it."
        )
    echo(
        "Several requests in one batch cost about one run: gather them as far as their deadlines allow."
    )


def _state_of(ledger: Ledger) -> str:
    """How many requests wait for a batch, and what the others wait for."""
    waiting = ledger.entries(states=("open",))
    begun = ledger.entries(states=("processing",))
    text = f"{len(waiting)} requests are open"
    if waiting:
        text += f", the first due {waiting[0].due} ({waiting[0].name})"
    if begun:
        names = ", ".join(entry.name for entry in begun)
        text += f"; being carried out already, and not counted: {names}: close them by their run's record"
    if not waiting:
        text += ": there is nothing to carry out now"
    return text


def _cost_line(way: Option) -> str:
    cost = "-" if way.cpu_seconds is None else f"{way.cpu_seconds:.0f} CPU s"
    if way.share is not None:
        cost += f", {way.share:.2f} of a retraining"
    if way.share_of_cheapest is not None:
        cost += f", {way.share_of_cheapest:.2f} of the cheapest exact one"
    return f"  {way.way}: {cost} ({way.basis})"
