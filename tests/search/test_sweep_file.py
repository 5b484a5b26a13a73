"""Every form that W&B's own schema allows in a sweep file: nested, weighted, beta, in steps, with bands."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from forgetmi.cli import main
from forgetmi.core.errors import SpecError
from forgetmi.methods.cf_k import CFk
from forgetmi.run.spec import RunSpec, applied
from forgetmi.search.sweep_file import Sweep, grid, read_sweep
from forgetmi.search.sweep_values import Distribution, Weighted

SHARES = (np.arange(1000) + 0.5) / 1000


def read(folder: Path, text: str) -> Sweep:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return read_sweep(path)


def only(folder: Path, given: str, method: str = "random") -> object:
    return read(folder, f"method: {method}\nparameters:\n  x: {given}\n").parameters["x"]


def test_nested_parameters_get_one_name(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
method: grid
controller: {type: local}
parameters:
  method:
    parameters:
      lr: {values: [0.1, 0.2]}
      inner: {parameters: {deep: {value: 3}}}
  seed: {value: 1}
""",
    )
    assert found.parameters == {"method.lr": (0.1, 0.2), "method.inner.deep": (3,), "seed": (1,)}
    with pytest.raises(SpecError, match=r"'method\.lr' is given twice"):
        read(
            tmp_path,
            "parameters: {method.lr: {value: 1}, method: {parameters: {lr: {value: 2}}}}\n",
        )
    with pytest.raises(SpecError, match="'method' is not understood"):
        read(tmp_path, "parameters: {method: {parameters: {}}}\n")


@pytest.mark.parametrize("kind", ["", "distribution: categorical_w_probabilities, "])
def test_values_come_as_often_as_their_probabilities_say(tmp_path: Path, kind: str) -> None:
    found = only(tmp_path, f"{{{kind}values: [a, b, c, d], probabilities: [0.2, 0, 0.8, 0]}}")
    assert found == Weighted(("a", "b", "c", "d"), (0.2, 0.0, 0.8, 0.0))
    assert isinstance(found, Weighted)
    drawn = [found.at(share) for share in SHARES]
    assert {value: drawn.count(value) for value in "abcd"} == {"a": 200, "b": 0, "c": 800, "d": 0}
    assert (found.at(0.0), found.at(1.0)) == ("a", "c")


@pytest.mark.parametrize(
    "given",
    [
        "{values: [1, 2], probabilities: [0.5, 0.4]}",
        "{values: [1, 2], probabilities: [1.5, -0.5]}",
        "{values: [1, 2], probabilities: [1.0]}",
        "{value: 1, probabilities: [1.0]}",
        "{values: [1, 2], probabilities: [0.5, 0.5], distribution: categorical}",
        "{values: [1, 2], distribution: categorical_w_probabilities}",
        "{distribution: beta, a: 0}",
        "{distribution: beta, min: 0, max: 1}",
        "{distribution: int_uniform, min: 1.5, max: 3}",
    ],
)
def test_what_wandb_would_not_take_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SpecError, match="'x' is not understood"):
        only(tmp_path, given)


def test_beta(tmp_path: Path) -> None:
    found = only(tmp_path, "{distribution: beta, a: 2, b: 5}")
    assert isinstance(found, Distribution)
    assert [found.at(share) for share in SHARES] == pytest.approx(
        list(stats.beta.ppf(SHARES, 2, 5))
    )
    assert only(tmp_path, "{distribution: beta}") == Distribution("beta", a=1, b=1)
    steps = only(tmp_path, "{distribution: q_beta, a: 2, b: 5, q: 0.25}")
    assert isinstance(steps, Distribution)
    assert [steps.at(share) for share in SHARES] == pytest.approx(
        list(np.round(stats.beta.ppf(SHARES, 2, 5) / 0.25) * 0.25)
    )


@pytest.mark.parametrize(
    "given",
    [
        "{distribution: q_uniform, min: 5, max: 30, q: 5}",
        "{distribution: q_uniform, min: 5, max: 30}",
        "{distribution: q_log_uniform_values, min: 1, max: 30, q: 2}",
        "{distribution: q_normal, mu: 20, sigma: 2, q: 1}",
        "{distribution: q_log_normal, q: 1}",
        "{distribution: q_beta, q: 1}",
        "{distribution: q_log_uniform, min: 0, max: 3}",
    ],
)
def test_whole_steps_give_whole_numbers(tmp_path: Path, given: str) -> None:
    found = only(tmp_path, given)
    assert isinstance(found, Distribution)
    drawn = [found.at(share) for share in SHARES]
    assert {type(value) for value in drawn} == {int}
    assert {value % found.q for value in drawn} == {0}
    assert (
        applied(RunSpec(method=CFk()), {"method.epochs": drawn[-1]}, where="x").method.epochs
        == drawn[-1]
    )
    assert applied(
        RunSpec(method=CFk()), {"training.shift": drawn[-1]}, where="x"
    ).training.shift == float(drawn[-1])


@pytest.mark.parametrize(
    ("given", "low", "high", "step"),
    [
        ("{min: 2, max: 5}", 2, 6, 1),
        ("{distribution: int_uniform, min: 2, max: 5}", 2, 6, 1),
        ("{distribution: q_uniform, min: 5, max: 30, q: 5}", 5, 30, 5),
        ("{distribution: q_uniform, min: 0, max: 1, q: 0.3}", 0, 1, 0.3),
        ("{distribution: q_uniform, min: 0.5, max: 3}", 0.5, 3, 1),
    ],
)
def test_a_grid_expands_whole_numbers_and_steps_as_wandb_does(
    tmp_path: Path,
    given: str,
    low: float,
    high: float,
    step: float,
) -> None:
    found, expected = only(tmp_path, given, "grid"), np.arange(low, high, step).tolist()
    assert isinstance(found, tuple)
    assert list(found) == pytest.approx(expected)
    assert list(map(type, found)) == list(map(type, expected))
    assert len(grid({"x": found, "y": (1, 2)})) == 2 * len(expected)


@pytest.mark.parametrize(
    "given",
    [
        "{min: 0.0, max: 1.0}",
        "{distribution: q_normal}",
        "{values: [1, 2], probabilities: [0.5, 0.5]}",
        "{distribution: beta}",
    ],
)
def test_a_grid_of_anything_else_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SpecError, match="'x' is drawn from a distribution"):
        only(tmp_path, given, "grid")


def bands(folder: Path, given: str) -> tuple[int, ...]:
    found = read(
        folder, f"early_terminate: {{type: hyperband, {given}}}\nparameters: {{x: {{value: 1}}}}\n"
    ).early
    assert found is not None
    return found.bands


def test_bands_of_early_stopping_are_wandbs(tmp_path: Path) -> None:
    assert (
        bands(tmp_path, "max_iter: 27, s: 2, eta: 3")
        == bands(tmp_path, "max_iter: 27, s: 2")
        == (3, 9)
    )
    assert bands(tmp_path, "max_iter: 27, s: 2, strict: true, min_iter: 5") == (3, 9)
    assert bands(tmp_path, "min_iter: 3")[:4] == (3, 9, 27, 81)
    for most in (3, 5, 10, 27, 50, 100, 1000):
        for eta in (2, 3):
            for steps in (1, 2, 5):
                expected = sorted(
                    most // eta**step for step in range(1, steps + 1) if most / eta**step >= 1
                )
                found = bands(tmp_path, f"max_iter: {most}, s: {steps}, eta: {eta}")
                assert list(found) == expected
                # The study's pruner decides at the first band x eta^k: each band is one decision, and only one.
                assert [
                    math.floor(math.log(band / found[0], eta) + 1e-9) for band in found
                ] == list(range(len(found)))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("max_iter: 27", "max_iter needs s"),
        ("eta: 3", "neither min_iter nor max_iter"),
        ("max_iter: 2, s: 3", "no band"),
        ("min_iter: 1, eta: 2.5", "eta is 2.5"),
        ("min_iter: 0", "min_iter is 0"),
        ("min_iter: 1, strict: false", "strict: false"),
        ("min_iter: 1, grace: 3", "unknown: grace"),
        ("max_iter: 27, s: true", "s is True"),
    ],
)
def test_early_stopping_that_would_be_read_otherwise_is_refused(
    tmp_path: Path, given: str, why: str
) -> None:
    with pytest.raises(SpecError, match="early_terminate is not understood") as caught:
        bands(tmp_path, given)
    assert why in str(caught.value)


def test_trials_are_looked_at_after_the_bands_and_drawn_as_the_file_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("optuna")
    made: list[tuple[float, int]] = []

    def score(spec: RunSpec, root: Path, **options: object) -> tuple[float, str]:
        made.append((spec.method.lr, spec.method.epochs))
        return spec.method.lr, ""

    monkeypatch.setattr("forgetmi.search.sweep.score", score)
    path = tmp_path / "sweep.yaml"
    path.write_text("""
method: random
early_terminate: {type: hyperband, max_iter: 27, s: 2, eta: 3}
parameters:
  method:
    parameters:
      lr: {values: [0.1, 0.2], probabilities: [0, 1]}
      epochs: {distribution: q_uniform, min: 20, max: 30, q: 10}
""")
    words = [
        "sweep",
        str(path),
        "--method",
        "cf_k",
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "1",
    ]
    assert main([*words, "--storage", "journal", "--trials", "1"]) == 0
    assert made in ([(0.2, 3), (0.2, 9), (0.2, 20)], [(0.2, 3), (0.2, 9), (0.2, 30)])
