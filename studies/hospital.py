"""Three years of withdrawals in a hospital, simulated: what each way of gathering requests costs, and what it misses.

    python studies/hospital.py --tables docs/results_tables.md [--page docs/cost_law.md]

Nothing is trained. People withdraw with a hazard that depends on the time since their consent; each request is due 30
or 90 days after it came. One processor carries out one batch at a time. A batch takes the share a + b rho of a
retraining that was measured on the embedded cohort, and a retraining as long for each image as there.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.core.arrays import Floats
from pages import command, put, rows
from which_method import IMAGES, measured, table_after

DAY = 24 * 3600.0
YEARS = 3 * 365.25

# Hazard of a withdrawal a day: up to how many days after consent, and how large
HAZARD = ((90.0, 1.0e-5), (365.0, 3.0e-6), (np.inf, 1.0e-6))
TERMS = {30.0: 0.7, 90.0: 0.3}

# Days that a batch by deadline begins before it must be finished; days between two retrainings
SPARE = 3.0
WEEK, MONTH = 7.0, 28.0

# Methods whose cost the benchmark's tables have at three sizes of request; and the share of a retraining that others
# took on one further cohort at 10 % (docs/which_method.md): it hardly depends on the share forgotten
EDITS = ("Forget-MI", "Consensus", "Calibrated consensus")
ON_ANOTHER_COHORT = {"Short retrain": (0.61, 0.0), "UNDO": (0.37, 0.0)}
IMAGES_PER_PATIENT = 4.4

# Folds of a pool whose member stands by
FOLDS = 5


@dataclass(frozen=True)
class Requests:
    """Requests in the order in which they come, times in days.

    Args:
        received: Float[n], sorted.
        due: Float[n].
    """

    received: Floats
    due: Floats


@dataclass(frozen=True)
class Batch:
    """What one run carries out.

    Args:
        requests: Numbers of the requests.
        method: By which.
        start, end: In days.
        seconds: CPU seconds.
    """

    requests: tuple[int, ...]
    method: str
    start: float
    end: float
    seconds: float


# When the next batch starts, and how many of the open requests it takes, from the open ones and the time it may start
Policy = Callable[[Requests, int, float], tuple[float, int]]
# Method and CPU seconds of a batch of so many requests, when so many had been forgotten before
Cost = Callable[[int, int], tuple[str, float]]


def cumulated(days: Floats) -> Floats:
    """Integral of the hazard from consent on."""
    total, before = np.zeros_like(np.asarray(days, float)), 0.0
    for until, hazard in HAZARD:
        total += hazard * np.clip(np.minimum(days, until) - before, 0, None)
        before = until
    return total


def expected(consent: Floats, days: float) -> float:
    """How many withdraw in the first days, of people who had not withdrawn before; in closed form."""
    grown = cumulated(days - consent) - cumulated(np.maximum(-consent, 0))
    return float((1 - np.exp(-grown)).sum())


def drawn(consent: Floats, days: float, generator: np.random.Generator) -> Requests:
    """Requests of the first days: each person's own time, by the hazard since their consent.

    Args:
        consent: Float[n], days of consent, before 0; who withdrew before day 0 is not among them.
        days: Horizon.
        generator: Of what is drawn.
    """
    # A person withdraws where the integral has grown by an exponential variate
    before = cumulated(-consent)
    goal = before + generator.exponential(size=len(consent))
    withdraws = np.flatnonzero(goal <= cumulated(days - consent))
    received = np.sort(_inverse(goal[withdraws]) + consent[withdraws])

    terms = generator.choice(list(TERMS), size=len(received), p=list(TERMS.values()))
    return Requests(received, received + terms)


def _inverse(total: Floats) -> Floats:
    """Days since consent at which the hazard's integral has a value."""
    days, left, before = np.zeros_like(total), total.copy(), 0.0
    for until, hazard in HAZARD:
        most = hazard * (until - before)
        days += np.minimum(left, most) / hazard
        left = np.maximum(left - most, 0)
        before = until
    return days


def at_once(requests: Requests, first: int, free: float) -> tuple[float, int]:
    """Each request by itself, as soon as it comes."""
    return max(free, requests.received[first]), 1


def every(period: float) -> Policy:
    """All that came, at regular times."""

    def policy(requests: Requests, first: int, free: float) -> tuple[float, int]:
        ready = max(free, requests.received[first])
        start = np.ceil(ready / period) * period
        return start, int((requests.received[first:] <= start).sum())

    return policy


def by_deadline(requests: Requests, first: int, free: float) -> tuple[float, int]:
    """All that came, as late as the first deadline among them allows."""
    start = np.inf
    for received, due in zip(requests.received[first:], requests.due[first:], strict=True):
        if received > start:
            break
        start = min(start, max(received, due - SPARE))
    start = max(start, free)
    return start, int((requests.received[first:] <= start).sum())


def simulate(requests: Requests, policy: Policy, cost: Cost) -> list[Batch]:
    """Carry all requests out, one batch after the other, on one machine."""
    batches: list[Batch] = []
    first, free = 0, 0.0
    while first < len(requests.received):
        start, count = policy(requests, first, free)
        method, seconds = cost(count, first)
        end = start + seconds / DAY
        numbers = tuple(range(first, first + count))
        batches.append(Batch(numbers, method, start, end, seconds))
        first, free = first + count, end
    return batches


@dataclass(frozen=True)
class Prices:
    """What was measured on the embedded cohort.

    Args:
        image: CPU seconds of a retraining for each image.
        lines: a and b of each method: it takes a + b rho of a retraining.
    """

    image: float
    lines: Mapping[str, tuple[float, float]]

    def cost(self, patients: int, names: Sequence[str]) -> Cost:
        """The cheapest of some methods, for a cohort of so many patients."""

        def cost(count: int, before: int) -> tuple[str, float]:
            share = count / (patients - before)
            shares = {name: self.lines[name][0] + self.lines[name][1] * share for name in names}
            method = min(shares, key=lambda name: shares[name])
            return method, shares[method] * self.retraining(patients - before)

        return cost

    def retraining(self, patients: int) -> float:
        """CPU seconds of one retraining."""
        return self.image * IMAGES_PER_PATIENT * patients


def prices(text: str) -> Prices:
    """Those of the benchmark's tables, and of the two methods that came after it."""
    seconds = table_after(text, "## Unlearning time\n")["Retrain"]["10 %: CPU seconds"]
    assert seconds is not None
    lines = dict(ON_ANOTHER_COHORT)
    for one in measured(text):
        if one.name in EDITS:
            lines[one.name] = (one.line.coefficients[0], one.line.coefficients[2] * IMAGES)
    return Prices(seconds / (0.9 * IMAGES), lines)


def standing_by(requests: Requests, batches: Sequence[Batch], fold: np.ndarray) -> float:
    """Share of the days with open requests on which all of these lie in one fold, so that a member stands by."""
    alone, waiting = 0.0, 0.0
    for batch in batches:
        numbers = list(batch.requests)
        times = [*requests.received[numbers], batch.end]
        for place, (begun, ended) in enumerate(itertools.pairwise(times)):
            waiting += ended - begun
            if len(set(fold[numbers[: place + 1]])) == 1:
                alone += ended - begun
    return alone / waiting


def line(name: str, requests: Requests, batches: Sequence[Batch], retraining: float) -> list[str]:
    """A row of the table."""
    closed = np.empty(len(requests.received))
    for batch in batches:
        closed[list(batch.requests)] = batch.end
    waited = closed - requests.received
    hours = sum(batch.seconds for batch in batches) / 3600
    used = sorted({batch.method for batch in batches})
    return [
        name,
        ", ".join(used),
        str(len(batches)),
        f"{hours:.1f}",
        f"{hours * 3600 / retraining:.1f}",
        f"{waited.mean():.1f}",
        f"{waited.max():.1f}",
        str(int((closed > requests.due).sum())),
    ]


def tables(known: Prices, patients: int, seed: int) -> list[str]:
    """Every policy with every set of methods, on the same requests."""
    generator = np.random.default_rng(seed)
    consent = -generator.uniform(0, 5 * 365.25, patients)
    requests = drawn(consent, YEARS, generator)
    fold = generator.integers(FOLDS, size=len(requests.received))
    retraining = known.retraining(patients)

    sets = {
        "cheapest edit": EDITS,
        "Forget-MI": ("Forget-MI",),
        "cheapest on the rest": tuple(ON_ANOTHER_COHORT),
    }
    policies: dict[str, Policy] = {
        "at once": at_once,
        "weekly": every(WEEK),
        "by deadline": by_deadline,
    }
    body = []
    for name, policy in policies.items():
        for title, names in sets.items():
            batches = simulate(requests, policy, known.cost(patients, names))
            body.append(line(f"{name}, {title}", requests, batches, retraining))
    monthly = simulate(requests, every(MONTH), known.cost(patients, ("Short retrain",)))
    body.append(line("standby and monthly", requests, monthly, retraining))

    head = ["policy, methods", "used", "runs", "CPU h", "retrainings", "mean days", "most days"]
    share = standing_by(requests, monthly, fold)
    return [
        f"{len(requests.received)} requests of {patients:,} patients (expected: {expected(consent, YEARS):.0f}); "
        f"one retraining would take {retraining / 3600:.1f} CPU h.",
        "",
        *rows([*head, "missed"], body),
        "",
        f"Of the days on which requests wait for the monthly retraining, a member of a pool of {FOLDS} folds that saw "
        f"none of those who wait stands by on {share:.0%}.",
    ]


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tables", type=Path, required=True, help="page with the benchmark's tables"
    )
    parser.add_argument("--page", type=Path, help="page with marks for the table")
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    words = [
        "--tables",
        "docs/results_tables.md",
        "--patients",
        str(options.patients),
        "--seed",
        str(options.seed),
    ]
    known = prices(options.tables.read_text(encoding="utf-8"))
    lines = tables(known, options.patients, options.seed)
    text = "\n".join([f"    {command('hospital', words)}", "", *lines])
    put(options.page, {"hospital": text})


if __name__ == "__main__":
    main()
