"""RMIA: bounds, monotonicity, ties, the exchangeable null and a remembered toy."""

from __future__ import annotations

import numpy as np
import pytest

from forgetmi.evaluation.attacks.rmia import prior, rmia
from tests.evaluation.attacks.closed_forms import assert_exchangeable, aucs


def case(seed: int, x: int = 30, z: int = 50, models: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "target": rng.uniform(0.01, 1, x),
        "outside": rng.uniform(0.01, 1, (models, x)),
        "population": rng.uniform(0.01, 1, z),
        "population_outside": rng.uniform(0.01, 1, (models, z)),
    }


def slow(data: dict[str, np.ndarray], gamma: float, a: float) -> list[float]:
    """The definition, one pair at a time."""

    def ratio(p: float, outside: np.ndarray) -> float:
        return p / (0.5 * ((1 + a) * outside.mean() + (1 - a)))

    return [
        float(
            np.mean(
                [
                    ratio(p, data["outside"][:, i]) / ratio(q, data["population_outside"][:, j])
                    > gamma
                    for j, q in enumerate(data["population"])
                ]
            )
        )
        for i, p in enumerate(data["target"])
    ]


@pytest.mark.parametrize(("gamma", "a"), [(1.0, 0.3), (1.5, 0.9), (0.7, 0.0)])
def test_equals_the_definition(gamma: float, a: float) -> None:
    data = case(0)
    scores = rmia(**data, gamma=gamma, a=a)
    np.testing.assert_allclose(scores, slow(data, gamma, a))
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_of_many_makes_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = case(4)
    data["population"][:9] = data["target"][:9]
    data["population_outside"][:, :9] = data["outside"][:, :9]
    weights = np.random.default_rng(0).random(50)
    expected = rmia(**data, weights=weights)
    monkeypatch.setattr("forgetmi.evaluation.attacks.rmia._MOST_PAIRS", 0)
    np.testing.assert_allclose(rmia(**data, weights=weights), expected)


def test_falls_with_gamma_and_ignores_the_scale_of_the_target() -> None:
    data = case(1)
    scores = np.stack([rmia(**data, gamma=gamma) for gamma in (0.5, 1.0, 2.0, 4.0)])
    assert (np.diff(scores, axis=0) <= 0).all()
    scaled = {**data, "target": data["target"] * 0.37, "population": data["population"] * 0.37}
    np.testing.assert_allclose(rmia(**scaled), rmia(**data))


def test_the_reference_itself_is_all_ties() -> None:
    data = case(2, models=1)
    same = {**data, "target": data["outside"][0], "population": data["population_outside"][0]}
    np.testing.assert_allclose(rmia(**same, a=1.0), 0.5, atol=1e-12)


def test_weights_choose_the_population() -> None:
    data = case(3)
    weights = (np.arange(50) < 20).astype(float)
    fewer = {
        **data,
        "population": data["population"][:20],
        "population_outside": data["population_outside"][:, :20],
    }
    np.testing.assert_allclose(rmia(**data, weights=weights), rmia(**fewer))


def test_prior() -> None:
    outside = np.array([[0.2, 0.4], [0.4, 0.8]])
    np.testing.assert_allclose(prior(outside, 1.0), [0.3, 0.6])
    np.testing.assert_allclose(prior(outside, 0.0), [0.65, 0.8])


def test_exchangeable_gives_one_half_and_memory_is_found() -> None:
    rng = np.random.default_rng(4)
    draws, f, m, z = 1000, 16, 40, 100

    def probability(shift: float, level: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(level + rng.normal(0, 0.7, level.shape) + shift)))

    level, other = rng.normal(size=draws * (f + m)), rng.normal(size=z)
    data = {
        "outside": np.stack([probability(0, level) for _ in range(3)]),
        "population": probability(0, other),
        "population_outside": np.stack([probability(0, other) for _ in range(3)]),
    }
    table = rmia(target=probability(0, level), **data, a=0.9).reshape(draws, f + m)
    assert_exchangeable(aucs(table[:, :f], table[:, f:]), (f, m))
    member = np.tile(np.arange(f + m) < f, draws)
    table = rmia(target=np.where(member, 0.999, probability(0, level)), **data).reshape(
        draws, f + m
    )
    assert aucs(table[:, :f], table[:, f:]).mean() > 0.95
