"""Retraining, SISA or unlearning: what each costs, by measured seconds, and what each risks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forgetmi.core.model_names import SHORT_RETRAIN
from forgetmi.evidence.record import Record

_UNMEASURED = "never measured here"

# Units of seconds
CPU, DEVICE = "CPU s", "device s"


@dataclass(frozen=True)
class Option:
    """One way to carry requests out.

    Args:
        way: In words.
        seconds: What a batch of requests costs, in seconds of a device where one computed, else of processors; None =
            never measured.
        share: Of one retraining; None = no retraining was measured.
        basis: Where the seconds come from.
        risk: In words.
        share_of_cheapest: Of the cheapest exact retraining that was measured, a short one or the recipe's own; None =
            no short one was (it is never guessed).
        unit: Of the seconds: "device s" or "CPU s".
    """

    way: str
    seconds: float | None
    share: float | None
    basis: str
    risk: str
    share_of_cheapest: float | None = None
    unit: str = CPU


def advise(
    records: Sequence[Record], *, patients: int, shards: int = 5, slices: int = 3
) -> list[Option]:
    """Compare the ways to carry out a batch of requests, the cheapest first.

    Args:
        records: Of runs on comparable data, whose seconds are compared: where a device computed in some of them,
            its seconds in those, and the others do not count.
        patients: How many patients the batch names.
        shards, slices: Of a SISA model, for the estimate where none was measured.
    """
    records, unit = _comparable(records)
    retraining = measured_retraining(records)
    options = [retraining]

    # Every method that was run, and SISA, which can be estimated where it was not.
    kinds = {record.method.kind for record in records} | {"sisa"}
    for kind in sorted(kinds):
        runs = [record for record in records if record.method.kind == kind]
        option = _measured(kind, runs, retraining)
        if kind == "sisa" and option.seconds is None:
            option = _estimated_sisa(retraining, patients=patients, shards=shards, slices=slices)
        options.append(option)

    # Everything beside the cheapest exact retraining, where a short one was measured.
    yardstick = _cheapest_exact(records, retraining)
    if yardstick:
        options = [_beside(option, yardstick) for option in options]
    return sorted((replace(option, unit=unit) for option in options), key=_by_cost)


def _comparable(records: Sequence[Record]) -> tuple[Sequence[Record], str]:
    """Records whose costs are of one kind, and the unit of these: on a device processors only wait."""
    on_device = [record for record in records if _after(record).get("device_seconds")]
    return (on_device, DEVICE) if on_device else (records, CPU)


def _after(record: Record) -> Mapping[str, float]:
    """What the unlearning of a run cost."""
    return record.cost[record.model("after").name]


def _busy(cost: Mapping[str, float]) -> float:
    """Seconds of the device where one was held, else of processors."""
    return cost.get("device_seconds") or cost["cpu_seconds"]


def sisa_share(patients: int, *, shards: int, slices: int) -> float:
    """Expected share of a whole training that SISA repeats to forget some patients.

    A patient lies in any of the shards x slices cells alike; a shard is trained again from the earliest slice hit, and
    training up to slice l of R costs (l + 1) / R of the shard's epochs (Bourtoule et al. 2021, arXiv 1912.03817).

    Args:
        patients: How many, >= 0.
        shards, slices: >= 1.
    """
    whole = sum(range(1, slices + 1))

    shares = []
    for first in range(slices):
        # Probability that the earliest slice hit in a shard is this one.
        none_before = (1 - first / (shards * slices)) ** patients
        none_up_to = (1 - (first + 1) / (shards * slices)) ** patients
        probability = none_before - none_up_to

        # Training repeats from that slice to the last.
        repeated = sum(range(first + 1, slices + 1))
        shares.append(probability * (repeated / whole))

    return sum(shares)


def measured_retraining(records: Sequence[Record]) -> Option:
    """Retraining without the withdrawn patients, by the mean of all retrained models that runs made."""
    records, unit = _comparable(records)
    seconds: list[float] = []
    for record in records:
        made_here = {
            model.name for model in record.models if model.role == "reference" and not model.given
        }
        costs = [cost for name, cost in record.cost.items() if name in made_here]
        if unit == DEVICE:
            costs = [cost for cost in costs if cost.get("device_seconds")]
        seconds += map(_busy, costs)

    # The mean stands for one retraining
    mean = _mean(seconds)
    return Option(
        "retrain without the withdrawn patients",
        mean,
        None if mean is None else 1.0,
        f"measured, mean of {len(seconds)} retrainings" if seconds else _UNMEASURED,
        "none from these patients: the new model never saw them; its results vary as between two trainings",
        unit=unit,
    )


def _measured(kind: str, runs: Sequence[Record], retraining: Option) -> Option:
    """One method, by the mean of the runs that used it."""
    seconds = _mean([_seconds(record) for record in runs])

    share = None
    if seconds is not None and retraining.seconds:
        share = seconds / retraining.seconds

    basis = f"measured, mean of {len(runs)} runs" if runs else _UNMEASURED
    return Option(kind, seconds, share, basis, _risk(kind, runs))


def _estimated_sisa(retraining: Option, *, patients: int, shards: int, slices: int) -> Option:
    """SISA, by the share of a measured retraining that it is expected to repeat."""
    if retraining.seconds is None:
        return Option("sisa", None, None, _UNMEASURED, _risk("sisa", ()))

    # SISA repeats a part of a training: the expected share of the measured seconds
    share = sisa_share(patients, shards=shards, slices=slices)
    seconds = share * retraining.seconds
    return Option(
        "sisa",
        seconds,
        seconds / retraining.seconds if retraining.seconds else None,
        f"estimated: {share:.2f} of a measured retraining is expected for {patients} patients, {shards} shards "
        f"of {slices} slices",
        _risk("sisa", ()),
    )


def _risk(kind: str, runs: Sequence[Record]) -> str:
    if kind == "sisa":
        return (
            "none from these patients, if the model in service was trained by SISA from the start; every shard's "
            "slices must be kept, and an ensemble of small shards may serve others worse"
        )
    if any(record.method.exact for record in runs):
        return "none from these patients: what they touched is trained again"

    # An approximate method is as risky as its verdicts so far show
    outcomes = Counter(record.decision.outcome for record in runs)
    counts = ", ".join(f"{outcome} {times}x" for outcome, times in sorted(outcomes.items()))
    return f"approximate: the weights start from a model that saw these patients; verdicts so far: {counts}"


def _cheapest_exact(records: Sequence[Record], retraining: Option) -> float | None:
    """Seconds of the cheapest exact retraining; None where no short one was measured.

    Runs with other options are kept apart: which number of epochs is good enough was chosen before (docs/benchmark.md).
    """
    by_options: dict[str, list[Record]] = {}
    for record in records:
        if record.method.kind == SHORT_RETRAIN:
            options = repr(sorted(record.method.options.items()))
            by_options.setdefault(options, []).append(record)

    means = [_mean([_seconds(record) for record in runs]) for runs in by_options.values()]
    found = [mean for mean in means if mean is not None]
    if found and retraining.seconds is not None:
        found.append(retraining.seconds)
    return min(found, default=None)


def _beside(option: Option, yardstick: float) -> Option:
    """The same with its share of the cheapest exact retraining, where it has seconds."""
    if option.seconds is None:
        return option
    return replace(option, share_of_cheapest=option.seconds / yardstick)


def _seconds(record: Record) -> float:
    """Seconds of the unlearning of a run."""
    return _busy(_after(record))


def _mean(values: Sequence[float]) -> float | None:
    if not values:
        return None
    return sum(values) / len(values)


def _by_cost(option: Option) -> tuple[bool, float]:
    """Measured ways first, by their seconds."""
    return (option.seconds is None, option.seconds or 0.0)
