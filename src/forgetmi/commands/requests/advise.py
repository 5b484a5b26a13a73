"""``forgetmi requests advise``: compare the ways to carry requests out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable
from forgetmi.evidence.record import Record
from forgetmi.evidence.record_files import read_record
from forgetmi.requests.advise import Option, measured_retraining
from forgetmi.requests.advise import advise as compare_ways
from forgetmi.requests.cost_advice import Choice, CostAdvice, choose
from forgetmi.requests.cost_law import CostLaw, read_cost_law
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.requests.policy import Policy, read_policy
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
        cost_law: File of measured costs (studies/cost_law.py makes one): names the cheapest method that may be chosen.
        images: With --cost-law, images that the model in service was trained on.
        forgotten_images: With --cost-law, images of the batch; 0 = as many as its patients have in the mean.
        policy: With --cost-law, YAML file of the verdicts that are acceptable although they are not FORGOTTEN.
        exact: With --cost-law, let only exact methods be chosen.
    """

    runs: tuple[Path, ...]
    patients: int = 0
    shards: int = 5
    slices: int = 3
    ledger: Path = LEDGER
    cost_law: Path | None = None
    images: int = 0
    forgotten_images: int = 0
    policy: Path | None = None
    exact: bool = False


def advise(argv: Sequence[str]) -> None:
    """Compare the ways to carry requests out."""
    options = command_line(
        AdviseOptions,
        argv,
        prog="forgetmi requests advise",
        description="Compare retraining, SISA and unlearning by the measured cost of finished runs, and "
        "by risk; with --cost-law name the cheapest method that a policy allows.",
    )
    _check(options)
    law = None if options.cost_law is None else read_cost_law(options.cost_law)
    policy = None if options.policy is None else read_policy(options.policy).policy

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
    if law is not None:
        _choose(law, options, records, patients, policy)
    echo(
        "Several requests in one batch cost about one run: gather them as far as their deadlines allow."
    )


def _check(options: AdviseOptions) -> None:
    """Refuse numbers out of range, and options without the cost law; all faults at once."""
    faults = []
    if min(options.shards, options.slices) < 1 or options.patients < 0:
        faults.append(
            Fault("a number is out of range", do="Shards and slices from 1, patients from 0.")
        )
    if options.cost_law is None:
        needless = options.images or options.forgotten_images or options.policy or options.exact
        if needless:
            do = "Give --cost-law, too, or leave them out."
            faults.append(
                Fault("options of the cost law are given without it", where="--cost-law", do=do)
            )
    elif options.images < 2 or not 0 <= options.forgotten_images < options.images:
        do = "Give --images, how many the model was trained on, and fewer of the batch."
        faults.append(Fault("the cost law needs to know how many images", where="--images", do=do))
    if faults:
        raise SpecError(faults)


def _choose(
    law: CostLaw,
    options: AdviseOptions,
    records: Sequence[Record],
    patients: int,
    policy: Policy | None,
) -> None:
    """Name the cheapest method that may be chosen, and what speaks against the others."""
    forgotten = options.forgotten_images or max(1, round(patients * law.images_per_patient))
    if forgotten >= options.images:
        do = "Give the images of the model in service with --images."
        raise SpecError(Fault("the batch has all images of the model", where="--images", do=do))
    measured = measured_retraining(records)
    retraining = measured.seconds
    found = choose(
        law,
        records,
        patients=patients,
        images=options.images,
        forgotten=forgotten,
        policy=policy,
        exact=options.exact,
        retraining=retraining,
    )

    unit = law.unit if retraining is None else measured.unit
    scaled = "unscaled: no retraining was measured here"
    if retraining is not None:
        scaled = f"x {found.scale:.2f}, by the retrainings measured here; shares and intervals are the law's own"
    echo(f"by the cost law, for {forgotten} of {options.images} images ({scaled}):")
    for choice in found.choices:
        echo(printable(f"  {_line_of(choice, found, unit)}"))

    best = found.cheapest
    if best is None:
        echo("No method may be chosen by it.")
        return
    echo(f"The cheapest that may be chosen: {best.method}.")
    for other in found.as_cheap():
        echo(f"  {other.method} cannot be told from it: the intervals overlap.")


def _line_of(choice: Choice, advice: CostAdvice, unit: str) -> str:
    text = f"{choice.method}: -"
    if choice.cost is not None:
        cost, share = choice.cost, choice.cost.seconds / advice.retraining.seconds
        text = f"{choice.method}: {cost.seconds:.0f} {unit} [{cost.low:.0f}, {cost.high:.0f}], "
        text += f"{share:.2f} of a retraining"
    if choice.why_not:
        text += f"; not to be chosen: {choice.why_not}"
    return text


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
    cost = "-" if way.seconds is None else f"{way.seconds:.0f} {way.unit}"
    if way.share is not None:
        cost += f", {way.share:.2f} of a retraining"
    if way.share_of_cheapest is not None:
        cost += f", {way.share_of_cheapest:.2f} of the cheapest exact one"
    return f"  {way.way}: {cost} ({way.basis})"
