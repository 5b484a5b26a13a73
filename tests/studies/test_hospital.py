"""The simulated hospital: every request is carried out once, none before it came, none too late, at no cost unseen."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.studies.test_studies import load


@pytest.fixture(scope="module")
def hospital(request: Any) -> Any:
    return load("hospital")


def steady(seconds: float) -> Any:
    """A batch costs that much, and a hundredth more for each request."""
    return lambda count, before: ("m", seconds * (1 + 0.01 * count))


def policies(hospital: Any) -> dict[str, Any]:
    return {
        "at once": hospital.at_once,
        "weekly": hospital.every(hospital.WEEK),
        "by deadline": hospital.by_deadline,
        "monthly": hospital.every(hospital.MONTH),
    }


@given(
    gaps=st.lists(st.floats(0, 40), min_size=1, max_size=60),
    terms=st.lists(st.sampled_from([30.0, 90.0]), min_size=60, max_size=60),
    hours=st.floats(0.01, 4),
)
@settings(max_examples=60, deadline=None)
def test_every_request_is_closed_once_after_it_came_and_in_time(
    hospital: Any, gaps: list[float], terms: list[float], hours: float
) -> None:
    received = np.cumsum(gaps)
    requests = hospital.Requests(received, received + np.array(terms[: len(gaps)]))
    for name, policy in policies(hospital).items():
        batches = hospital.simulate(requests, policy, steady(hours * 3600))

        # Once each, in the order in which they came
        done = [number for batch in batches for number in batch.requests]
        assert done == list(range(len(gaps))), name

        for batch in batches:
            numbers = list(batch.requests)
            assert batch.start >= received[numbers].max() - 1e-9, name
            assert batch.end <= requests.due[numbers].min() + 1e-9, name
            assert batch.end - batch.start == pytest.approx(batch.seconds / hospital.DAY)

        # One machine: nothing overlaps; what was spent is what the batches cost
        for one, other in itertools.pairwise(batches):
            assert other.start >= one.end
        spent = hours * 3600 * (len(batches) + 0.01 * len(gaps))
        assert sum(batch.seconds for batch in batches) == pytest.approx(spent)


def test_waiting_makes_fewer_batches(hospital: Any) -> None:
    received = np.arange(0, 300, 2.0)
    requests = hospital.Requests(received, received + 30)
    counts = {}
    for name, policy in policies(hospital).items():
        counts[name] = len(hospital.simulate(requests, policy, steady(60.0)))
    assert counts["at once"] == 150
    assert counts["at once"] > counts["weekly"] > counts["by deadline"]
    assert counts["by deadline"] == pytest.approx(300 / (30 - hospital.SPARE), abs=2)


def test_a_machine_that_is_too_slow_misses_deadlines(hospital: Any) -> None:
    """What the invariant above would not see, were the machine always fast enough."""
    received = np.arange(20.0)
    requests = hospital.Requests(received, received + 30)
    batches = hospital.simulate(requests, hospital.at_once, steady(5 * hospital.DAY))
    late = [b for b in batches if b.end > requests.due[list(b.requests)].min()]
    assert late


def test_a_near_deadline_pulls_the_batch_forward(hospital: Any) -> None:
    requests = hospital.Requests(np.array([0.0, 5.0, 20.0]), np.array([90.0, 35.0, 110.0]))
    batches = hospital.simulate(requests, hospital.by_deadline, steady(60.0))
    assert [batch.requests for batch in batches] == [(0, 1, 2)]
    assert batches[0].start == 35 - hospital.SPARE


def test_arrivals_are_as_many_as_the_hazard_says(hospital: Any) -> None:
    generator = np.random.default_rng(2)
    consent = -generator.uniform(0, 800, 20_000)
    draws = [len(hospital.drawn(consent, 900.0, generator).received) for _ in range(60)]
    mean = hospital.expected(consent, 900.0)
    assert abs(np.mean(draws) - mean) < 4 * (mean / 60) ** 0.5

    # Rare events of many people are a Poisson process: the variance is the mean
    assert 0.5 < np.var(draws, ddof=1) / mean < 1.7


def test_a_constant_hazard_has_the_closed_form(hospital: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(hospital, "HAZARD", ((np.inf, 2e-3),))
    consent = -np.random.default_rng(0).uniform(0, 500, 5000)
    assert hospital.expected(consent, 300.0) == pytest.approx(5000 * (1 - np.exp(-0.6)))
    days = hospital.cumulated(np.array([0.0, 10.0]))
    assert days == pytest.approx([0.0, 0.02])


def test_times_follow_the_hazard(hospital: Any) -> None:
    """Most of those who withdraw do so soon after consent, in the proportion of the integral."""
    generator = np.random.default_rng(4)
    consent = np.zeros(400_000)
    found = hospital.drawn(consent, 400.0, generator).received
    early = (found <= 90).mean()
    grown = hospital.cumulated(np.array([90.0, 400.0]))
    expected = (1 - np.exp(-grown[0])) / (1 - np.exp(-grown[1]))
    assert early == pytest.approx(expected, abs=4 * (expected * (1 - expected) / len(found)) ** 0.5)
    inverse = hospital._inverse(hospital.cumulated(np.array([5.0, 90.0, 200.0, 900.0])))
    assert inverse == pytest.approx([5.0, 90.0, 200.0, 900.0])


def test_who_stands_by(hospital: Any) -> None:
    requests = hospital.Requests(np.array([0.0, 6.0]), np.array([30.0, 30.0]))
    batch = hospital.Batch((0, 1), "m", 10.0, 10.0, 0.0)
    assert hospital.standing_by(requests, [batch], np.array([1, 1])) == 1.0
    assert hospital.standing_by(requests, [batch], np.array([1, 2])) == pytest.approx(0.6)
