"""What the release's evaluation means to compute, against its own functions' numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.authors_code.measures import release_measures
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.distance import cosine_distance


def signals(logits: Any, label: Any) -> Signals:
    n = len(label)
    names = np.array([f"{row:016x}" for row in range(n)], dtype=object)
    logits = np.asarray(logits, np.float64)
    return Signals.image_text(
        "m", "c", np.arange(n), names, names, np.asarray(label), logits, np.zeros_like(logits)
    )


def thirds(n: int) -> Partition:
    rows = np.arange(n)
    third = n // 3
    return Partition(
        forget=rows[:third],
        retain=rows[third : 2 * third],
        validation=rows[:0],
        holdout=rows[2 * third :],
        patient=rows,
        group=rows,
        cohort="c",
    )


def test_similarity_equals_the_release(oracles: Path) -> None:
    given = json.loads((oracles / "metrics.json").read_text())["similarity"]
    far = cosine_distance(np.array(given["logits_a"]), np.array(given["logits_b"]))
    np.testing.assert_allclose(1 - far, given["per_sample_cosine"], atol=1e-6)
    assert round(float(far.mean()), 3) == given["reported_one_minus_similarity"]


def test_measures_of_a_set_equal_the_release(oracles: Path) -> None:
    """Each case three times over, so that every set is the case."""
    for case in json.loads((oracles / "metrics.json").read_text())["cases"]:
        one = signals(case["logits"] * 3, case["labels"] * 3)
        found, expected = release_measures(one, thirds(len(one))), case["expected"]
        for auc, f1 in ((found.auc_forget, found.f1_forget), (found.auc_test, found.f1_test)):
            assert f1 == pytest.approx(expected["macro_f1"], abs=1e-4)
            assert auc == (
                None
                if expected["auc_mean"] is None
                else pytest.approx(expected["auc_mean_unrounded"], abs=1e-4)
            )
        assert found.dissimilarity is None


def test_measures_by_hand() -> None:
    draw = np.random.default_rng(0)
    logits, label = draw.normal(size=(300, 4)), draw.integers(0, 4, 300)
    one, other = signals(logits, label), signals(draw.normal(size=(300, 4)), label)
    found = release_measures(one, thirds(300), retrained=other)
    assert found.attack.units == (4, 4, 4)
    assert not found.attack.comparable
    cosine = torch.cosine_similarity(
        torch.tensor(logits[100:200]), torch.tensor(other.image_logits[100:200])
    )
    assert found.dissimilarity == pytest.approx(1 - float(cosine.mean()), abs=1e-12)
    unknown = release_measures(
        replace(one, label=np.where(np.arange(300) % 3 == 0, -1, label)), thirds(300)
    )
    assert unknown.attack.units == (3, 3, 3)
