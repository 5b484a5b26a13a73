"""Retraining, SISA or unlearning: what each costs, by measured seconds, and what each risks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from forgetmi.evidence.record import Record


@dataclass(frozen=True)
class Option:
    """One way to carry requests out.

    Args:
        way: In words.
        cpu_seconds: CPU seconds a batch of requests costs; None = never measured.
        share: Of one retraining; None = no retraining was measured.
        basis: Where the seconds come from.
        risk: In words.
    """

    way: str
    cpu_seconds: float | None
    share: float | None
    basis: str
    risk: str


def advise(
    records: Sequence[Record], *, patients: int, shards: int = 5, slices: int = 3
) -> list[Option]:
    """Compare the ways to carry out a batch of requests, the cheapest first.

    Args:
        records: Of runs on comparable data; their stages' CPU seconds are what is compared.
        patients: How many patients the batch names.
        shards, slices: Of a SISA model, for the estimate where none was measured.
    """
    retrains = [
        cost["cpu_seconds"]
        for record in records
        for name, cost in record.cost.items()
        if any(
            one.name == name and one.role == "reference" and not one.given for one in record.models
        )
    ]
    retraining = _mean(retrains)
    options = [
        Option(
            "retrain without the withdrawn patients",
            retraining,
            None if retraining is None else 1.0,
            f"measured, mean of {len(retrains)} retrainings" if retrains else "never measured here",
            "none from these patients: the new model never saw them; its results vary as between two trainings",
        )
    ]
    kinds = sorted({record.method.kind for record in records} | {"sisa"})
    for kind in kinds:
        own = [record for record in records if record.method.kind == kind]
        seconds = _mean([record.cost[record.model("after").name]["cpu_seconds"] for record in own])
        basis = f"measured, mean of {len(own)} runs"
        if kind == "sisa" and seconds is None and retraining is not None:
            share = sisa_share(patients, shards=shards, slices=slices)
            seconds, basis = (
                share * retraining,
                (
                    f"estimated: {share:.2f} of a measured retraining is expected for {patients} patients, {shards} shards "
                    f"of {slices} slices"
                ),
            )
        relative = seconds / retraining if seconds is not None and retraining else None
        options.append(
            Option(
                kind,
                seconds,
                relative,
                basis if seconds is not None else "never measured here",
                _risk(kind, own),
            )
        )
    return sorted(
        options, key=lambda option: (option.cpu_seconds is None, option.cpu_seconds or 0.0)
    )


def sisa_share(patients: int, *, shards: int, slices: int) -> float:
    """Expected share of a whole training that SISA repeats to forget some patients.

    A patient lies in any of the shards x slices cells alike; a shard is trained again from the earliest slice hit, and
    training up to slice l of R costs (l + 1) / R of the shard's epochs (Bourtoule et al. 2021, arXiv 1912.03817).

    Args:
        patients: How many, >= 0.
        shards, slices: >= 1.
    """
    steps = range(slices)
    later = [
        (1 - first / (shards * slices)) ** patients for first in range(slices + 1)
    ]  # no patient before the slice
    work = [
        sum(last + 1 for last in range(first, slices)) / sum(last + 1 for last in steps)
        for first in steps
    ]
    return sum((later[first] - later[first + 1]) * work[first] for first in steps)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _risk(kind: str, own: Sequence[Record]) -> str:
    if kind == "sisa":
        return (
            "none from these patients, if the model in service was trained by SISA from the start; every shard's "
            "slices must be kept, and an ensemble of small shards may serve others worse"
        )
    if any(record.method.exact for record in own):
        return "none from these patients: what they touched is trained again"
    outcomes = Counter(record.decision.outcome for record in own)
    counts = ", ".join(f"{outcome} {times}x" for outcome, times in sorted(outcomes.items()))
    return f"approximate: the weights start from a model that saw these patients; verdicts so far: {counts}"
