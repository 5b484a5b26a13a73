"""``forgetmi requests``: the ledger of withdrawals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import tyro

from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.commands.forget_list import process
from forgetmi.commands.options import command_line
from forgetmi.core.errors import Fault, SpecError
from forgetmi.requests.deadlines import Term, deadline
from forgetmi.requests.entries import FINAL, STATES, Entry, Scope, State, numbers
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.run.console import echo

GROUNDS = {
    "gdpr": "GDPR Art. 17, erasure",
    "uk_biobank": "UK Biobank withdrawal",
    "own": "withdrawal",
}
_HELP = """usage: forgetmi requests add|list|due|process|close|advise|drift [OPTIONS]

  add      enter a request; its deadline is set, and only keyed digests are kept
  list     all requests and where they stand
  due      what must be done by when, the most urgent first
  process  gather open requests into one forget list for forgetmi run
  close    close requests by a run's record; or refuse them, hold them, open them again
  advise   compare retraining, SISA and unlearning by measured cost, and by risk
  drift    what the requests so far have done to the model in service"""


def requests(argv: Sequence[str]) -> None:
    """Keep the ledger of withdrawals."""
    actions = {
        "add": add,
        "list": show,
        "due": due,
        "process": process,
        "close": close,
        "advise": advise,
        "drift": drift,
    }
    if not argv or argv[0] not in actions:
        if argv and argv[0] in ("-h", "--help"):
            echo(_HELP)
            return
        raise SpecError(Fault("requests needs an action", do=f"One of: {', '.join(actions)}."))
    actions[argv[0]](argv[1:])


@dataclass(frozen=True)
class AddOptions:
    """Options of ``forgetmi requests add``.

    Args:
        who: CSV or Parquet with a column patient_id (or study_id) of those who withdraw.
        received: Day of receipt, YYYY-MM-DD; empty = today (UTC).
        term: What sets the deadline: gdpr (one month), uk_biobank (90 days), or own with --days.
        days: For own, days until the deadline, 1 to 3650.
        ground: Legal ground in words, without identifiers; empty = that of the term.
        scope: all_studies, one_modality, future_training, or legal_hold (the request waits on hold).
        note: Anything else, without identifiers.
        ledger: The ledger's file.
        key_file: The identifier key; empty = as for a cohort.
    """

    who: Path
    received: str = ""
    term: Term = "gdpr"
    days: int | None = None
    ground: str = ""
    scope: Scope = "all_studies"
    note: str = ""
    ledger: Path = LEDGER
    key_file: Path | None = None


def add(argv: Sequence[str]) -> None:
    """Enter a request."""
    from forgetmi.requests.subjects import read_subjects

    own = command_line(
        AddOptions,
        argv,
        prog="forgetmi requests add",
        description="Enter a withdrawal. Identifiers are read, turned into keyed digests, and not kept.",
    )
    received = _day(own.received, "--received")
    last = deadline(received, own.term, days=own.days)
    pseudonyms = Pseudonyms(load_key(own.key_file))
    ground = own.ground or GROUNDS[own.term]
    patients, studies = read_subjects(own.who, pseudonyms, words=(ground, own.note))
    ledger = Ledger(own.ledger, key_id=pseudonyms.key_id)
    entry = ledger.add(
        received=received,
        due=last,
        term=own.term,
        ground=ground,
        scope=own.scope,
        patients=patients,
        studies=studies,
        note=own.note,
    )
    echo(f"{entry.name}: {_who(entry)}, {entry.scope}, {entry.state}, due {entry.due}")
    for twin in ledger.twins(entry):
        echo(f"  note: {twin.name} ({twin.state}) names some of the same")


@dataclass(frozen=True)
class ListOptions:
    """Options of ``forgetmi requests list``.

    Args:
        state: Only requests in this state; all = every one.
        as_json: Print JSON, with keyed digests and the history of each request.
        ledger: The ledger's file.
    """

    state: Literal["all", "open", "processing", "on_hold", "closed", "refused"] = "all"
    as_json: bool = False
    ledger: Path = LEDGER


def show(argv: Sequence[str]) -> None:
    """All requests."""
    own = command_line(
        ListOptions,
        argv,
        prog="forgetmi requests list",
        description="All requests and where they stand, by deadline.",
    )
    ledger = Ledger(own.ledger)
    entries = ledger.entries(states=STATES if own.state == "all" else (own.state,))
    if own.as_json:
        echo(
            json.dumps(
                [
                    {
                        **dataclasses.asdict(entry),
                        "request": entry.name,
                        "history": ledger.history(entry.number),
                    }
                    for entry in entries
                ],
                indent=1,
                default=str,
            )
        )
        return
    echo("\n".join(_line(entry) for entry in entries) or "no requests")


@dataclass(frozen=True)
class DueOptions:
    """Options of ``forgetmi requests due``.

    Args:
        within: Only deadlines within so many days, 0 or more; overdue ones always.
        today: The day to count from, YYYY-MM-DD; empty = today (UTC).
        ledger: The ledger's file.
    """

    within: int = 3650
    today: str = ""
    ledger: Path = LEDGER


def due(argv: Sequence[str]) -> None:
    """Deadlines."""
    own = command_line(
        DueOptions,
        argv,
        prog="forgetmi requests due",
        description="Requests that are not closed, the most urgent first.",
    )
    if own.within < 0:
        raise SpecError(Fault(f"{own.within} days", where="--within", do="Give 0 or more."))
    today = _day(own.today, "--today")
    entries = [
        entry
        for entry in Ledger(own.ledger).entries(states=[one for one in STATES if one not in FINAL])
        if (entry.due - today).days <= own.within
    ]
    echo(
        "\n".join(f"{_left((entry.due - today).days):>18}  {_line(entry)}" for entry in entries)
        or "nothing is due"
    )


def _left(days: int) -> str:
    return f"OVERDUE by {-days} d" if days < 0 else "due today" if days == 0 else f"{days} d left"


@dataclass(frozen=True)
class CloseOptions:
    """Options of ``forgetmi requests close``.

    Args:
        request: Numbers of requests, e.g. R0003.
        record: The record (or run directory) that carried them out; it is verified first.
        state: With --record closed; without, what to set: closed, refused, on_hold, or open again.
        note: Why, without identifiers; needed without a record, or where the verdict is not FORGOTTEN or the record is
            older than the request.
        key: The signer's public key (PEM), from a source you trust; without, anybody's record is taken.
        ledger: The ledger's file.
    """

    request: tyro.conf.Positional[tuple[str, ...]]
    record: Path | None = None
    state: Literal["closed", "refused", "on_hold", "open"] = "closed"
    note: str = ""
    key: Path | None = None
    ledger: Path = LEDGER


def close(argv: Sequence[str]) -> None:
    """Close requests."""
    own = command_line(
        CloseOptions,
        argv,
        prog="forgetmi requests close",
        description="Close requests by a run's record; or refuse them, hold them, open them again.",
    )
    asked = numbers(own.request)
    if not asked:
        raise SpecError(Fault("no request is named", do="Give numbers, e.g. R0003."))
    ledger, unchecked, said = Ledger(own.ledger), (), {}
    if own.record is None:
        state: State = own.state
        ledger.move(asked, state, note=own.note)
    elif own.state != "closed":
        raise SpecError(
            Fault("a record closes requests", where="--state", do="Leave one of the two out.")
        )
    else:
        from forgetmi.evidence.verify import verify

        folder = own.record if own.record.is_dir() else own.record.parent
        checked = verify(own.record, key=own.key)
        said = ledger.meet(asked, checked.record, folder=folder.resolve(), note=own.note)
        unchecked = checked.open
    echo(
        "\n".join(
            [
                *(
                    _line(entry)
                    + (f"\n  note: {said[entry.number]}" if entry.number in said else "")
                    for entry in ledger.entries(asked)
                ),
                *(f"  not checked: {line}" for line in unchecked),
            ]
        )
    )


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
    from forgetmi.evidence.record_files import read_record
    from forgetmi.requests.advise import advise as compare

    own = command_line(
        AdviseOptions,
        argv,
        prog="forgetmi requests advise",
        description="Compare retraining, SISA and unlearning by the measured cost of finished runs, and "
        "by risk.",
    )
    if min(own.shards, own.slices) < 1 or own.patients < 0:
        raise SpecError(
            Fault("a number is out of range", do="Shards and slices from 1, patients from 0.")
        )
    patients = own.patients or len(
        {
            digest
            for entry in Ledger(own.ledger).entries(states=("open",))
            for digest in entry.patients
        }
    )
    records = [read_record(path) for path in own.runs]
    echo(f"for {patients} patients in one batch:")
    for option in compare(records, patients=patients, shards=own.shards, slices=own.slices):
        seconds = "-" if option.cpu_seconds is None else f"{option.cpu_seconds:.0f} CPU s"
        share = "" if option.share is None else f", {option.share:.2f} of a retraining"
        echo(f"  {option.way}: {seconds}{share} ({option.basis})\n    risk: {option.risk}")
    echo(
        "Several requests in one batch cost about one run: gather them as far as their deadlines allow."
    )


@dataclass(frozen=True)
class DriftOptions:
    """Options of ``forgetmi requests drift``.

    Args:
        ledger: The ledger's file.
    """

    ledger: Path = LEDGER


def drift(argv: Sequence[str]) -> None:
    """What the requests so far have done to the model."""
    own = command_line(
        DriftOptions,
        argv,
        prog="forgetmi requests drift",
        description="The runs that met requests, in order, and how the model in service changed.",
    )
    steps = Ledger(own.ledger).steps()
    for number, step in enumerate(steps):
        if number and step.before != steps[number - 1].after:
            echo("  (this run did not start from the model of the run before)")
        echo(
            f"{step.at[:10]}  {step.before[:8]} -> {step.after[:8]}  {len(step.requests)} requests  "
            f"AUC {_number(step.auc_before)} -> {_number(step.auc)}  gap {_number(step.gap)} "
            f"(retrained models {_number(step.floor)})  {step.verdict}"
        )
    if not steps:
        echo("no run has met a request yet")
    elif steps[0].auc_before is not None and steps[-1].auc is not None:
        echo(
            f"AUC on never-seen patients since the first request: {steps[-1].auc - steps[0].auc_before:+.3f}. When it "
            "drifts below what you can accept, retrain once without everybody who withdrew."
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _line(entry: Entry) -> str:
    return (
        f"{entry.name}  {entry.state:<10}  due {entry.due}  received {entry.received}  {_who(entry)}  "
        f"{entry.scope}  {entry.ground}" + (f"  record {entry.record[:16]}" if entry.record else "")
    )


def _who(entry: Entry) -> str:
    return f"{len(entry.patients)} patients" if entry.patients else f"{len(entry.studies)} studies"


def _day(text: str, option: str) -> date:
    if not text:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SpecError(
            Fault(f"{text!r} is no day", where=option, do="Write it as YYYY-MM-DD.")
        ) from None
