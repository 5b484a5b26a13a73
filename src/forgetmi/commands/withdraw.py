"""``forgetmi withdraw``: from the model in service and a list of people to a new model and its evidence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forgetmi.commands.command_line import take_options
from forgetmi.commands.exit_codes import IN_WORDS
from forgetmi.commands.json_output import json_output
from forgetmi.commands.options import parse
from forgetmi.core.errors import Fault, SpecError
from forgetmi.requests.days import read_day, read_past_day
from forgetmi.requests.deadlines import DEFAULT_TERM, Term, deadline
from forgetmi.requests.entries import Scope, numbers
from forgetmi.requests.grounds import ground_words
from forgetmi.requests.policy import read_policy
from forgetmi.run.spec import RunSpec

if TYPE_CHECKING:
    from forgetmi.run.withdrawal_requests import Asking

# Fields of a run that a withdrawal decides itself, or the model in service
_OWN = ("partition", "request", "images", "text", "model")
USED = tuple(field.name for field in fields(RunSpec) if field.name not in _OWN)


@dataclass(frozen=True)
class WithdrawOptions:
    """Options of ``forgetmi withdraw``.

    Args:
        model: The model in service: folder of a checkpoint, or of the run whose unlearned model serves.
        out: Directory of the withdrawal's run; given again, an interrupted one goes on, a finished one stays as it is.
        list: CSV or Parquet with a column patient_id (or study_id) of those who withdraw; columns request, received and
            ground tell several requests apart.
        requests: Instead of a list, numbers of requests in the ledger, e.g. R0003; neither = every open one.
        ledger: The ledger's file; requests of the list are entered, and closed where the evidence allows.
        received: Day of receipt, YYYY-MM-DD, of what the list does not date; empty = today (UTC).
        term: What sets the deadline: gdpr (one month), uk_biobank (90 days), or own with --days.
        days: For own, days until the deadline, 1 to 3650.
        ground: consent, objection, study (see docs/requests.md) or own words without identifiers; empty = by the term.
        scope: all_studies, or one_modality (both are forgotten).
        sign_off: Who signs the result off, as a role.
        in_service: First day on which the new model serves, YYYY-MM-DD.
        policy: YAML file of the verdicts that are acceptable although they are not FORGOTTEN; kept in the run.
        key_file: The identifier key; empty = as for a cohort.
        sign_key: PEM file of an Ed25519 private key to sign the record with.
        page: Page of the queue to write anew once the ledger is changed; see forgetmi requests page.
        dry_run: Say what would be done and what can be shown; nothing is written.
        json: Print one JSON object on stdout, everything else on stderr.
    """

    model: Path
    out: Path
    list: Path | None = None
    requests: tuple[str, ...] = ()
    ledger: Path | None = None
    received: str = ""
    term: Term = DEFAULT_TERM
    days: int | None = None
    ground: str = ""
    scope: Scope = "all_studies"
    sign_off: str = ""
    in_service: str = ""
    policy: Path | None = None
    key_file: Path | None = None
    sign_key: Path | None = None
    page: Path | None = None
    dry_run: bool = False
    json: bool = False


def withdraw(argv: Sequence[str]) -> int:
    """Carry a withdrawal out, from the list to closed requests."""
    # The run that made the model gives the starting values
    _, values = take_options(argv, {"model"})
    base = None
    if "model" in values and not {"-h", "--help"} & {*argv}:
        from forgetmi.run.model_in_service import model_in_service, starting_spec

        base = starting_spec(model_in_service(Path(values["model"])))

    spec, options = parse(
        WithdrawOptions,
        argv,
        prog="forgetmi withdraw",
        description="Carry a withdrawal out on the model in service: enter it, say what can be shown, unlearn, audit, "
        f"report, record, close. {IN_WORDS} Options that are left out are those of the run that made the model.",
        only=USED,
        base=base,
    )
    _check(options, spec, base or spec)

    # What carries it out is imported after the help was printed
    from forgetmi.commands.withdraw_steps import carry_out

    with json_output(options.json) as result:
        return carry_out(_asking(spec, options), options, list(argv), result)


def _check(options: WithdrawOptions, spec: RunSpec, base: RunSpec) -> None:
    """Refuse options that contradict each other; all faults at once."""
    faults = []
    if spec.given.original not in (None, base.given.original):
        do = "Name the model in service with --model alone."
        faults.append(Fault("two models are given", where="--given.original", do=do))
    if options.list is not None and options.requests:
        do = "Give one of the two."
        faults.append(Fault("a list and numbers of requests are given", where="--requests", do=do))
    if options.list is None and options.ledger is None:
        do = "Give --list, or --ledger for its open requests."
        faults.append(Fault("nobody is named who withdraws", where="--list", do=do))
    if options.page is not None and options.ledger is None:
        do = "Give --ledger, too, or leave --page out."
        faults.append(Fault("a queue's page is asked for without a ledger", where="--page", do=do))
    if options.scope not in ("all_studies", "one_modality"):
        do = "Enter it with forgetmi requests add; nothing is unlearned for it."
        faults.append(Fault("this scope asks for no unlearning", where="--scope", do=do))
    if faults:
        raise SpecError(faults)


def _asking(spec: RunSpec, options: WithdrawOptions) -> Asking:
    """The options as what they ask for."""
    from forgetmi.run.model_in_service import model_in_service
    from forgetmi.run.withdrawal_requests import Asking

    received = read_past_day(options.received, "--received")
    deadline(received, options.term, days=options.days)
    if options.in_service:
        read_day(options.in_service, "--in-service")

    cohort = spec.cohort
    if options.key_file is not None and hasattr(cohort, "key_file"):
        cohort = replace(cohort, key_file=Path(os.path.abspath(options.key_file)))

    return Asking(
        model=model_in_service(options.model),
        spec=replace(spec, cohort=cohort),
        who=options.list,
        numbers=tuple(numbers(options.requests)),
        ledger=options.ledger,
        received=received,
        received_stated=bool(options.received),
        term=options.term,
        days=options.days,
        ground=ground_words(options.ground, options.term),
        scope=options.scope,
        sign_off=options.sign_off,
        in_service=options.in_service,
        policy=None if options.policy is None else read_policy(options.policy),
    )
