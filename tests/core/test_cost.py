"""Meters of time and memory."""

from __future__ import annotations

import sys
import threading
import time
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest

from forgetmi.core import cost, energy
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


def test_a_device_is_counted_while_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([100.0, 100.0, 130.0, 130.0])
    monkeypatch.setattr("forgetmi.core.cost.joules_so_far", lambda: next(readings))
    with Meter("cuda:0") as meter:
        # An interrupted process had used 50 J in 1,000 s before
        go_on_from(Cost(1000.0, 500.0, 1, device_seconds=1000.0, energy=50.0))
    cost = meter.cost
    assert cost.energy == pytest.approx(80.0)
    assert cost.device_seconds == cost.seconds >= 1000
    assert (cost.busy, cost.kind) == (cost.device_seconds, "device time")

    with Meter() as meter:
        pass
    assert (meter.cost.device_seconds, meter.cost.energy) == (0, 0)
    assert (meter.cost.busy, meter.cost.kind) == (meter.cost.cpu_seconds, "processor time")


def test_the_driver_is_asked_for_the_first_visible_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver(ModuleType):
        NVMLError = RuntimeError
        asked: ClassVar[list[object]] = []

        def nvmlInit(self) -> None: ...

        def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
            self.asked.append(number)
            return number

        def nvmlDeviceGetHandleByUUID(self, name: bytes) -> int:
            self.asked.append(name)
            return 7

        def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
            if handle == 9:
                raise RuntimeError("not supported")
            return 2500

    monkeypatch.setitem(sys.modules, "pynvml", Driver("pynvml"))
    energy._library.cache_clear()
    for visible, joules in (("2,3", 2.5), ("GPU-ab", 2.5), ("9", None)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert energy.joules_so_far() == joules
    assert Driver.asked == [2, b"GPU-ab", 9]

    # Without the package nothing is known
    monkeypatch.setitem(sys.modules, "pynvml", None)
    energy._library.cache_clear()
    assert energy.joules_so_far() is None
    energy._library.cache_clear()
