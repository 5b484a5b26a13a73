"""Meters of time and memory."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from forgetmi.core import cost
from forgetmi.core.cost import Cost, Meter, cost_so_far, go_on_from


def test_a_meter_measures_memory_and_time() -> None:
    with Meter(interval=0.01) as meter:
        block = np.ones(20_000_000)
        time.sleep(0.05)
    assert meter.cost.peak_memory > block.nbytes
    assert meter.cost.seconds >= 0.05


def test_meters_go_on_from_what_they_showed_when_progress_was_saved() -> None:
    assert cost_so_far() is None
    go_on_from(Cost(1e6, 1e6, 1))  # no meter runs: nothing to set
    with Meter() as outer:
        time.sleep(0.05)
        with Meter() as inner:
            time.sleep(0.05)  # done again after an interruption: it is in the saved cost
            go_on_from(Cost(1000.0, 500.0, 10**15))
            shown = cost_so_far()
            time.sleep(0.05)
    assert shown is not None
    assert 1000 <= shown.seconds < 1000.05
    assert 1000.05 <= inner.cost.seconds < outer.cost.seconds - 0.05
    assert 500 <= inner.cost.cpu_seconds <= outer.cost.cpu_seconds < 510
    assert inner.cost.peak_memory == outer.cost.peak_memory == 10**15
    assert cost_so_far() is None


def test_a_saved_peak_is_not_lost_to_a_reading_that_began_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, saved, again = (threading.Event() for _ in range(3))

    def slow() -> int:
        if threading.current_thread() is not threading.main_thread():
            (again if reading.is_set() else reading).set()
            assert saved.wait(10)
        return 1

    monkeypatch.setattr(cost, "anonymous_memory", slow)
    with Meter(interval=0.001) as meter:
        assert reading.wait(10)
        go_on_from(Cost(0.0, 0.0, 10**15))
        saved.set()
        assert again.wait(10)
    assert meter.cost.peak_memory == 10**15
