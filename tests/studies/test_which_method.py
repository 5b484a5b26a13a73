"""The page on methods: what it reads from the tables, and who is on the front."""

from __future__ import annotations

from typing import Any

import pytest

from tests.studies.test_studies import load

TABLES = """
### What the paper's columns do not show, 10 %

| model | gap, both heads | JSf image | JSf text |
|---|---:|---:|---:|
| Original | 0.300 [0.1, 0.4] | 0.200 | 0.100 |
| Retrain | 0.050 [0.04, 0.06] | 0.100 | 0.100 |
| Cheap | **0.100** [0.0, 0.2] | 0.300 | 0.300 |
| Cheap (epochs 2) | 0.050 | 0.100 | 0.100 |
| Dear | 0.050 | 0.100 | 0.100 |
| Beaten | 0.200 | 0.400 | 0.400 |
| Failed | not measured: x | 0.100 | 0.100 |

## Unlearning time

| model | 3 %: share of retraining | 6 %: share of retraining | 10 %: share of retraining |
|---|---:|---:|---:|
| Cheap | 0.070 [0, 1] | 0.100 | 0.140 |
| Dear | 0.900 | 0.900 | 0.900 |
| Beaten | 0.200 | 0.300 | 0.500 |
| Failed | 0.200 | 0.300 | 0.500 |

After it.
"""


@pytest.fixture(scope="module")
def page() -> Any:
    return load("which_method")


def test_methods_are_measured_in_floors_and_by_their_line(page: Any) -> None:
    found = {one.name: one for one in page.measured(TABLES)}
    assert set(found) == {"Cheap", "Dear", "Beaten"}
    assert found["Cheap"].gap == pytest.approx(2.0)
    assert found["Cheap"].divergence == pytest.approx(3.0)
    constant, _, each = found["Cheap"].line.coefficients
    assert constant == pytest.approx(0.04, abs=1e-3)
    assert each * page.IMAGES == pytest.approx(1.0, abs=0.02)


def test_the_front_is_beaten_by_nobody(page: Any) -> None:
    methods = page.measured(TABLES)
    for distance in ("gap", "divergence"):
        assert [one.name for one in page.on_front(methods, distance)] == ["Cheap", "Dear"]


def test_figure_and_table_are_made_alike_each_time(page: Any) -> None:
    methods = page.measured(TABLES)
    assert page.drawn(methods) == page.drawn(methods)
    assert (
        page.lines_of({"Dear": methods[-1]})[-1] == "| Dear | 0.90 + 0.0 rho | 0.90 | 1.0 | 1.0 |"
    )
