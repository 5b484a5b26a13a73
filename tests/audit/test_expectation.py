"""What an audit is said to show beforehand is what the verdict's own interval shows on simulated patients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from forgetmi.audit.delta import deltas
from forgetmi.audit.expectation import Expectation, expectation, sentences
from forgetmi.audit.rule import Rule
from tests.audit.test_verdict import draw

TIMES = 25


def simulated(
    patients: int, never: int, retrained: int, noise: float
) -> tuple[float, float, Expectation]:
    """Half-width of the verdict's interval and share of withdrawals called FORGOTTEN, and both as expected."""
    half_widths, spreads, effective, called = [], [], [], []
    for seed in range(TIMES):
        one = draw(seed, forgotten=patients, never=never, retrains=retrained, noise=noise)
        measured = deltas([one], level=0.95, resamples=300, seed=seed)
        change = measured.unlearned
        half_widths.append((change.high - change.low) / 2)
        called.append(change.low > -0.10 and change.high < 0.10)
        effective.append(measured.effective)

        ranks = np.stack([rankdata(signal[patients:]) / never for signal in one.retrained])
        spreads.append((ranks[0] - ranks[1]).std())

    expected = expectation(
        patients=patients,
        never_seen=float(np.mean(effective)),
        retrained=retrained,
        rule=Rule(channels=("image",)),
        spread=float(np.mean(spreads)),
    )
    return float(np.mean(half_widths)), float(np.mean(called)), expected


@pytest.mark.parametrize(
    ("patients", "never", "retrained", "noise"),
    [(3, 60, 3, 0.5), (10, 60, 3, 0.5), (40, 60, 2, 0.5), (40, 60, 8, 0.5), (120, 200, 3, 0.5)],
)
def test_half_width_and_chance_are_those_of_the_rule(
    patients: int, never: int, retrained: int, noise: float
) -> None:
    half_width, called, expected = simulated(patients, never, retrained, noise)
    assert expected.half_width is not None
    assert half_width == pytest.approx(expected.half_width, rel=0.2)
    assert called == pytest.approx(expected.chance, abs=0.3)
    if not expected.can_show:
        assert called == 0


def test_few_patients_cannot_and_more_can() -> None:
    few = expectation(patients=3, never_seen=42, retrained=3, rule=Rule())
    assert not few.can_show
    assert few.chance == 0
    needed = few.patients_needed
    assert needed is not None
    for patients, can in ((needed - 1, False), (needed, True)):
        found = expectation(patients=patients, never_seen=42, retrained=3, rule=Rule())
        assert found.can_show == can
        assert found.patients_needed == needed
    (said,) = sentences(few)
    assert said.startswith("With 3 patients this audit cannot say FORGOTTEN")
    assert f"with {needed} it could" in said


@pytest.mark.parametrize(
    ("patients", "never_seen", "retrained", "lacking"),
    [
        (1, 50, 3, "1 forgotten patient"),
        (9, 1, 3, "1 never-seen patient"),
        (9, 50, 0, "0 retrained"),
    ],
)
def test_without_two_of_each_nothing_is_measured(
    patients: int, never_seen: int, retrained: int, lacking: str
) -> None:
    found = expectation(patients=patients, never_seen=never_seen, retrained=retrained, rule=Rule())
    assert found.half_width is None
    assert not found.can_show
    assert lacking in found.lacking
    assert "cannot say FORGOTTEN" in sentences(found)[0]


def test_where_never_seen_patients_are_too_few_no_number_of_patients_helps() -> None:
    found = expectation(patients=10_000, never_seen=4, retrained=3, rule=Rule())
    assert found.patients_needed is None
    assert not found.can_show
    assert "no number of patients would do" in sentences(found)[0]


def test_a_wider_margin_and_more_models_help() -> None:
    plain = expectation(patients=30, never_seen=60, retrained=3, rule=Rule())
    wider = expectation(patients=30, never_seen=60, retrained=3, rule=Rule(margin=0.2))
    more = expectation(patients=30, never_seen=60, retrained=8, rule=Rule())
    assert plain.half_width == wider.half_width
    assert wider.chance > more.chance > plain.chance
    assert "would say so in about" in sentences(wider)[0]
