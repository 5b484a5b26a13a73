"""What ``forgetmi withdraw`` does, step by step, and what it says of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from forgetmi.audit.expectation import sentences
from forgetmi.commands.exit_codes import ACCEPTABLE, CODES
from forgetmi.commands.requests.queue_page import check_page, write_page
from forgetmi.commands.requests.wording import subject_count
from forgetmi.core.cost import Cost
from forgetmi.core.errors import EvidenceError, Fault
from forgetmi.core.printable import printable
from forgetmi.evidence.record import Record
from forgetmi.requests.entries import FINAL
from forgetmi.requests.ledger import LEDGER
from forgetmi.requests.processing import ForgetList
from forgetmi.requests.standing import NEVER_TRAINED
from forgetmi.run.console import echo
from forgetmi.run.directory import RunDirectory
from forgetmi.run.finish import finish
from forgetmi.run.pool_references import reference_count
from forgetmi.run.record_keeping import Recording, check
from forgetmi.run.spec import kind_of
from forgetmi.run.withdrawal import (
    ClosedRequest,
    begin,
    close,
    spec_of_withdrawal,
    stored_withdrawal,
)
from forgetmi.run.withdrawal_files import StoredWithdrawal, check_free
from forgetmi.run.withdrawal_plan import Plan
from forgetmi.run.withdrawal_plan import plan as plan_withdrawal
from forgetmi.run.withdrawal_requests import Asking


class Options(Protocol):
    """Of `forgetmi.commands.withdraw.WithdrawOptions`, what is read here."""

    @property
    def out(self) -> Any: ...
    @property
    def sign_key(self) -> Any: ...
    @property
    def page(self) -> Any: ...
    @property
    def dry_run(self) -> bool: ...


def carry_out(asking: Asking, options: Options, argv: Sequence[str], result: dict[str, Any]) -> int:
    """Carry a withdrawal out, or go on with it.

    Args:
        asking: What is asked for.
        options: The command's own.
        argv: The words after the command, for the manifest.
        result: Filled for ``--json``.

    Returns:
        The exit code.
    """
    how = Recording(options.sign_key, asking.model.previous)
    check(how)
    check_page(options.page)
    directory = RunDirectory(options.out.absolute())
    result.update(out=str(directory.root), dry_run=options.dry_run, model=asking.model.weights)

    # One that has begun goes on; else it is planned, said and begun
    stored = stored_withdrawal(asking, directory)
    if stored is None:
        check_free(directory)
        plan = plan_withdrawal(asking)
        _say_plan(asking, plan, result)
        _refuse_what_cannot_be_done(plan)
        if options.dry_run:
            echo("Nothing was done (--dry-run).")
            return ACCEPTABLE
        stored = begin(asking, plan, directory)
        _write_page(asking, options)
        if stored is None:
            return _say_nothing_to_unlearn(asking, plan, result)
    elif options.dry_run:
        echo(f"The withdrawal has begun in {options.out}. Nothing was done (--dry-run).")
        return ACCEPTABLE

    # The run, then what its record closes
    spec = spec_of_withdrawal(asking, stored, directory.root)
    finish(spec, directory.root, command=["forgetmi", "withdraw", *argv], how=how)
    record, accepted, outcomes = close(asking, stored, directory)
    _write_page(asking, options)
    _say_end(directory, stored, record, accepted, outcomes, result, ledger=asking.ledger)
    return ACCEPTABLE if accepted else CODES.get(record.decision.outcome, CODES["NOT RESOLVABLE"])


def _write_page(asking: Asking, options: Options) -> None:
    if asking.ledger is not None:
        write_page(options.page, asking.ledger)


def _say_plan(asking: Asking, plan: Plan, result: dict[str, Any]) -> None:
    """What will be done, and what can be shown."""
    model = asking.model
    made_by = f", made by run {model.run.name}" if model.run is not None else ""
    echo(f"Model in service: {model.checkpoint.name} (weights {model.weights[:12]}{made_by})")

    # The requests, and what those they name are to the model
    requests = []
    for entry, entered in zip(plan.entries, plan.entered, strict=True):
        name = entry.name if asking.ledger is not None else f"request {entry.number}"
        new = "" if entered or asking.ledger is None else ", entered now"
        echo(
            printable(
                f"{name}: {subject_count(entry)}, received {entry.received}, due {entry.due}, {entry.ground}{new}"
            )
        )
        requests.append(
            {
                "request": name,
                "entered": entered,
                "state": entry.state,
                "subjects": len(entry.subjects),
                "received": entry.received,
                "due": entry.due,
                "ground": entry.ground,
            }
        )
    forget_list = plan.forget_list
    notes = [*plan.notes, *_notes_of_list(asking, forget_list)]
    for note in notes:
        echo(printable(f"  note: {note}"))

    # What it takes, and what can be shown
    trained_on = len(forget_list.rows)
    result.update(requests=requests, notes=notes, trained_on=trained_on, expected=None)
    if plan.expected is None:
        return
    names = ", ".join(f"{count} {kind}" for kind, count in _counts(plan).items())
    echo(f"To unlearn: {trained_on} of the {plan.kind} digests listed ({names or 'all'})")
    echo(f"Method: {kind_of(asking.spec.method)}. {_retraining(asking, plan.cost)}")
    expected = sentences(plan.expected)
    for sentence in expected:
        echo(f"Beforehand: {sentence}")
    echo(_closing(asking))
    result.update(
        method=kind_of(asking.spec.method),
        retraining=None if plan.cost is None else asdict(plan.cost),
        expected={**asdict(plan.expected), "sentences": expected},
    )


def _notes_of_list(asking: Asking, forget_list: ForgetList) -> list[str]:
    """What the list leaves out; of requests without anything to unlearn, what becomes of them here."""
    then = (
        "it is closed with that reason" if asking.ledger is not None else "there is no run for it"
    )
    notes = [f"{one.entry.name}: {one.reason}; {then}" for one in forget_list.nothing]

    answered = tuple(f"{one.entry.name} is left out: " for one in forget_list.nothing)
    return [*(note for note in forget_list.notes if not note.startswith(answered)), *notes]


def _counts(plan: Plan) -> dict[str, int]:
    """How many of the listed need no unlearning, by what they are."""
    forget_list = plan.forget_list
    never = sum(map(len, forget_list.never_trained.values()))
    absent = sum(map(len, forget_list.absent.values()))
    counts = Counter({"trained on": len(forget_list.rows)})
    counts[NEVER_TRAINED[0].partition(" (")[0]] = never
    counts["not in this cohort"] = absent
    return {name: count for name, count in counts.items() if count}


def _retraining(asking: Asking, cost: Cost | None) -> str:
    """How many models are retrained, and how long that takes."""
    retrains = asking.spec.retrains
    if asking.spec.references is not None:
        number = reference_count(asking.spec)
        return f"Nothing is retrained: the pool gives {number} references."
    if cost is None:
        return f"{retrains} models are retrained to compare with; what one takes is not recorded."
    return (
        f"{retrains} models are retrained to compare with; by what is recorded one takes about "
        f"{duration(cost.seconds)} ({duration(cost.cpu_seconds)} of a processor)."
    )


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def _closing(asking: Asking) -> str:
    if asking.ledger is None:
        return "No ledger is kept: nothing is closed."
    if asking.policy is None:
        return "A verdict FORGOTTEN closes the requests; any other leaves them open for a decision."
    accepted = " or ".join(("FORGOTTEN", *asking.policy.policy.accept))
    return f"A verdict {accepted} closes the requests, the latter as the policy says."


def _refuse_what_cannot_be_done(plan: Plan) -> None:
    """Refuse where every request is left out for a reason that is not "nothing to unlearn"."""
    answered = [entry for entry in plan.entries if entry.state == "closed"]
    if plan.forget_list.entries or plan.forget_list.nothing or answered:
        return
    raise EvidenceError(
        Fault("no request can be carried out", why=note, do="See docs/requests.md.")
        for note in plan.forget_list.notes
    )


def _say_nothing_to_unlearn(asking: Asking, plan: Plan, result: dict[str, Any]) -> int:
    """Nobody was trained on: what was recorded."""
    nothing = plan.forget_list.nothing
    result.update(verdict=None, nothing_to_unlearn=bool(nothing), closed=[])
    for one in nothing:
        closed = "" if asking.ledger is None else f"{one.entry.name} is closed: "
        echo(printable(f"{closed}{one.reason}"))
        result["closed"].append(
            {
                "request": one.entry.name,
                "state": "" if asking.ledger is None else "closed",
                "why": one.reason,
            }
        )
    if not nothing:
        echo("These requests were answered before. Nothing was done.")
        return ACCEPTABLE
    echo("Nobody was trained on: no run was made. Take their rows out of the data.")
    return ACCEPTABLE


def _say_end(
    directory: RunDirectory,
    stored: StoredWithdrawal,
    record: Record,
    accepted: str,
    outcomes: Sequence[ClosedRequest],
    result: dict[str, Any],
    *,
    ledger: Path | None,
) -> None:
    """The verdict, what became of each request, and where everything is."""
    outcome = record.decision.outcome
    echo(f"Verdict: {outcome}{'; accepted by the policy' if accepted else ''}")
    for one in outcomes:
        state = one.state.replace("_", " ") or "not in a ledger"
        echo(printable(f"{one.name or 'request'}: {state}{f' ({one.why})' if one.why else ''}"))
    still = [one.name for one in outcomes if one.state not in ("", *FINAL)]
    if still:
        kept = "" if ledger in (None, LEDGER) else f" --ledger {ledger}"
        echo(
            f"Not closed: {', '.join(still)}. To close them all the same, somebody must say why: "
            f"forgetmi requests close {' '.join(still)} --record {directory.root}{kept} --note WHY"
        )

    letters = sorted(path.name for path in directory.root.glob("letter*.html"))
    unlearned = record.model("after")
    result.update(
        verdict=outcome,
        accepted_by_policy=bool(accepted),
        patients=len(record.subjects.patients),
        batch=stored.batch,
        closed=[{"request": one.name, "state": one.state, "why": one.why} for one in outcomes],
        record=record.digest,
        signer=record.signer,
        new_model=str(directory.model(unlearned.name)),
        weights=unlearned.weights,
        report=str(directory.report),
        letters=letters,
    )
    echo(f"New model: {directory.model(unlearned.name)} (weights {unlearned.weights[:12]})")
    echo(f"Report: {directory.report}   Letter: {', '.join(letters)}")
