"""Canaries: matched, drawn by fair coins, sealed, and kept where the coin put them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from forgetmi.cohort.canaries import (
    COMMITMENT,
    SEALED,
    draw_canaries,
    keep_out,
    read_canaries,
    write_canaries,
)
from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return SyntheticCohort(patients=60, seed=3, size=16).load()


def test_pairs_match_and_the_coin_decides_who_is_trained_on(cohort: Cohort) -> None:
    drawn = draw_canaries(cohort, pairs=8, seed=0, key=KEY)
    assert drawn == draw_canaries(cohort, pairs=8, seed=0, key=KEY)
    assert drawn.commitment != draw_canaries(cohort, pairs=8, seed=0, key=KEY[::-1]).commitment
    assert len(set(drawn.patients)) == 16
    studies = [len(np.unique(cohort.study[cohort.patient == one])) for one in drawn.patients]
    assert studies[::2] == studies[1::2]
    sets = keep_out(drawn, partition(cohort, forget=drawn.request()), cohort)
    names = cohort.patient.astype(str)
    for name, kept in zip(drawn.patients, drawn.included, strict=True):
        assert np.isin(np.flatnonzero(names == name), sets.forget if kept else sets.holdout).all()
    assert (drawn.by_code(cohort) == 1).sum() == sum(drawn.included)


def test_coins_are_fair(cohort: Cohort) -> None:
    coins = [
        kept
        for seed in range(60)
        for kept in draw_canaries(cohort, pairs=8, seed=seed, key=KEY).included
    ]
    assert np.mean(coins) == pytest.approx(0.5, abs=0.06)


def test_a_changed_list_is_noticed(cohort: Cohort, tmp_path: Path) -> None:
    drawn = draw_canaries(cohort, pairs=4, seed=1, key=KEY)
    write_canaries(tmp_path, drawn)
    assert read_canaries(tmp_path / SEALED, cohort) == drawn
    assert (tmp_path / COMMITMENT).read_text().strip() == drawn.commitment
    stored = json.loads((tmp_path / SEALED).read_text())
    stored["included"][0] = not stored["included"][0]
    (tmp_path / SEALED).write_text(json.dumps(stored))
    with pytest.raises(CohortError, match="changed after they were sealed"):
        read_canaries(tmp_path / SEALED, cohort)


def test_too_many_pairs_are_refused(cohort: Cohort) -> None:
    with pytest.raises(CohortError, match="cannot be drawn"):
        draw_canaries(cohort, pairs=1000, seed=0, key=KEY)
