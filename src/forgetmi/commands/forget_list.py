"""``forgetmi requests process``: open requests become one forget list, and the command that carries it out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.cohort.partition_file import read_partition
from forgetmi.commands.options import parse
from forgetmi.core.errors import EvidenceError, Fault, PartitionError
from forgetmi.core.files import write_text
from forgetmi.core.types import Cohort, Partition
from forgetmi.requests.entries import Entry, Kind, Step, numbers
from forgetmi.requests.ledger import LEDGER, Ledger
from forgetmi.run.console import echo

TRAINED, FORGOTTEN, ABSENT = "trained on", "forgotten by an earlier run", "not in this cohort"
NEVER: Mapping[str, str] = {
    name: f"never trained on ({name})" for name in ("validation", "holdout", "reference")
}


@dataclass(frozen=True)
class ProcessOptions:
    """Options of ``forgetmi requests process``.

    Args:
        out: The forget list to write (CSV of keyed digests), for --partition.forget-list.
        only: Numbers of requests, e.g. R0003; none given = every open one.
        kind: Requests that name patients, or those that name single studies; one forget list holds one kind.
        ledger: The ledger's file.
    """

    out: Path
    only: tuple[str, ...] = ()
    kind: Kind = "patient"
    ledger: Path = LEDGER


def process(argv: Sequence[str]) -> None:
    """Gather open requests into one forget list."""
    spec, own = parse(
        ProcessOptions,
        argv,
        prog="forgetmi requests process",
        only=("cohort",),
        description="Match open requests with a cohort and write one forget list for forgetmi run.",
    )
    cohort = spec.cohort.load()
    ledger = Ledger(own.ledger, key_id=cohort.key_id)
    standing = _standing(cohort, own.kind, _in_service(ledger.steps(), cohort))
    taken: list[Entry] = []
    rows: list[str] = []
    never: dict[int, list[str]] = {}
    for entry in ledger.entries(
        numbers(own.only), states=("open", "processing") if own.only else ("open",)
    ):
        digests = entry.patients if own.kind == "patient" else entry.studies
        found = [standing.get(digest, ABSENT) for digest in digests]
        if reason := _left_out(entry, own.kind, found):
            echo(f"{entry.name} is left out: {reason}")
            continue
        for where in dict.fromkeys(found):
            if where != TRAINED:
                echo(f"{entry.name}: {found.count(where)} of {len(found)} are {where}")
        taken.append(entry)
        rows += [
            f"{digest},{entry.name}"
            for digest, where in zip(digests, found, strict=True)
            if where == TRAINED
        ]
        never[entry.number] = [
            digest for digest, where in zip(digests, found, strict=True) if where in NEVER.values()
        ]
    if not taken:
        raise EvidenceError(
            Fault(
                "no request can be carried out",
                where=own.ledger.name,
                do="See forgetmi requests list.",
            )
        )
    write_text(own.out, "\n".join([f"{own.kind}_digest,request", *rows]) + "\n")
    batch = ledger.process([entry.number for entry in taken], never_trained=never)
    echo(
        f"Forget list {batch}: {own.out} ({len(taken)} requests, {len(rows)} {own.kind} digests)\n"
        f"Next, with the cohort's options:  {_next(own.out, taken, ledger.steps())}"
    )


def _in_service(steps: Sequence[Step], cohort: Cohort) -> Partition | None:
    """Who is what to the model in service; None where no run has met a request, or its files are gone."""
    if not steps:
        return None
    try:
        return read_partition(Path(steps[-1].folder) / "partition.json", cohort)
    except PartitionError as error:
        echo(f"who was never trained on is known from the cohort alone: {error}")
        return None


def _standing(cohort: Cohort, kind: Kind, in_service: Partition | None) -> dict[str, str]:
    """Keyed digest to what its data are to the model; of a patient with several answers, "trained on" counts."""
    side = np.array([NEVER.get(split, TRAINED) for split in cohort.split.tolist()], dtype=object)
    if in_service is not None:
        side[in_service.retain] = TRAINED
        side[in_service.forget] = FORGOTTEN
        for name, words in NEVER.items():
            side[in_service.rows(name)] = words  # type: ignore[arg-type]
    digests = (cohort.patient if kind == "patient" else cohort.study).astype(str)
    kept = side == TRAINED
    return dict(zip(digests.tolist(), side.tolist(), strict=True)) | dict.fromkeys(
        digests[kept].tolist(), TRAINED
    )


def _left_out(entry: Entry, kind: Kind, found: Sequence[str]) -> str:
    """Why a request does not go into the list; "" = it does."""
    if not found:
        return f"it names no {kind}; see --kind"
    if entry.scope == "future_training":
        return "it asks for future training only: leave the data out of the next training, then close it with a note"
    if TRAINED in found:
        return ""
    if set(found) == {ABSENT}:
        return "nobody it names is in this cohort"
    words = ", ".join(f"{found.count(where)} {where}" for where in dict.fromkeys(found))
    if FORGOTTEN in found:
        return f"of those it names, {words}: close it by the record of the run that forgot them"
    return (
        f"of those it names, {words}: there is nothing to unlearn. Take them out of the data, then: forgetmi "
        f"requests close {entry.name} --note 'the model was never trained on them'"
    )


def _next(out: Path, taken: Sequence[Entry], steps: Sequence[Step]) -> str:
    words = [
        "forgetmi",
        "run",
        "--partition.forget-list",
        str(out),
        "--request.id",
        ",".join(entry.name for entry in taken),
        "--partition.date",
        min(entry.received for entry in taken).isoformat(),
        "--request.ground",
        "; ".join(dict.fromkeys(entry.ground for entry in taken)),
    ]
    if steps:  # the model in service has forgotten others before
        before = Path(steps[-1].folder)
        words += [
            "--given.original",
            str(before / "models" / "unlearned"),
            "--partition.after",
            str(before / "partition.json"),
            "--previous",
            str(before / "record.json"),
        ]
    return shlex.join([*words, "--out", "DIRECTORY"])
